"""Unit vectors in fewer bits: half precision, or one byte a component.

What is kept of a vector is its direction: it is brought back to unit length when it is read, so
that the scale of a row of bytes need not be stored, and rounding along the vector does no harm.
"""

import numpy as np
import tensorflow as tf

from network.segsort.prototypes import l2_normalize

STORAGES = ('float32', 'float16', 'int8')
LARGEST = 127  # the code of a row's component of greatest magnitude, or its negative


def compress(features, storage):
  """Rounds unit vectors to the nearest that a storage can hold.

  Args:
    features: float32 [P, D] of unit length.
    storage: one of `STORAGES`; int8 scales each row by itself, symmetrically.

  Returns:
    [P, D] of this type.

  Raises:
    ValueError: there is no such storage.
  """
  if storage not in STORAGES:
    raise ValueError(f'--bank_storage {storage}: expected one of {", ".join(STORAGES)}')
  features = np.asarray(features, np.float32)
  if storage == 'int8':
    largest = np.maximum(np.abs(features).max(axis=1, keepdims=True), 1e-30)
    features = np.rint(features * (LARGEST / largest))
  return features.astype(storage)


def decompress(rows):
  """What `compress` has rounded, as float32 of unit length.

  Args:
    rows: [P, D] of a type of `STORAGES`; float32 is returned as it is.

  Returns:
    float32 [P, D].
  """
  rows = tf.convert_to_tensor(rows)
  if rows.dtype == tf.float32:
    return rows
  return l2_normalize(rows)
