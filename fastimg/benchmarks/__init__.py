"""What `fastimg bench` and the project's benchmarks run: jobs, their rivals, and how both are timed.

A `Job` is one piece of work that several libraries can do; its contenders do it with the same input, the same
parameters and the same number of threads. A rival that is not installed takes no part. Results are compared before
anything is timed. The contract stands in full in the project's ``benchmarks/README.md``.
"""

from .races import Job, Mismatch, Row, Timing, compared, contenders, interleaved, race

__all__ = ["Job", "Mismatch", "Row", "Timing", "compared", "contenders", "interleaved", "race"]
