"""One quantity of this implementation beside the same quantity of a reference."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Comparison:
  """The largest error of a quantity and what it may be; a NaN error is never in tolerance."""
  name: str
  error: float
  tolerance: float

  @property
  def ok(self):
    return bool(self.error <= self.tolerance)


def relative_error(actual, expected):
  """Largest difference relative to the expected array's own scale, its largest magnitude.

  Args:
    actual, expected: arrays; an expected array of zeros has the scale 1.

  Returns:
    float; infinite where the shapes differ, NaN where a value is NaN.
  """
  actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
  if actual.shape != expected.shape:
    return float('inf')
  if not expected.size:
    return 0.0
  scale = np.abs(expected).max()
  return float(np.abs(actual - expected).max() / (scale if scale > 0 else 1.0))


def mismatches(actual, expected):
  """Number of entries that differ, as a float; infinite where the shapes differ."""
  actual, expected = np.asarray(actual), np.asarray(expected)
  if actual.shape != expected.shape:
    return float('inf')
  return float(np.count_nonzero(actual != expected))
