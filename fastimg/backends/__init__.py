"""The backends: one module per kind of device, each with the same operations under the same signatures.

`fastimg.arrays` decides which of them owns an array. A backend's functions trust their arguments: what a user passes
has been checked by the public function.
"""
