"""Slow, obvious NumPy references in float64: the oracles of the tests, one file per operation.

Nothing here is fast and nothing here is shared with the library. Every reference takes and returns float64
(or what it says), so that a test converts, compares and bounds the error by dtype.
"""
