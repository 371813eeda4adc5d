"""Examples of equal size put together, so that a network runs on several at once."""

import numpy as np


def batches_of_equal_size(examples, batch_size, most_waiting=None):
  """Groups examples by the size of their image.

  Args:
    examples: iterable of `seg_models.image_reader.Example`.
    batch_size: examples in a full batch.
    most_waiting: examples of all sizes that are kept back at most, 4 batches by default; beyond it
      the group that has waited longest comes as it is.

  Yields:
    Non-empty lists of at most `batch_size` examples of one image size, every example once; with
    `batch_size` 1 in their order.
  """
  if batch_size < 1:
    raise ValueError(f'--batch_size {batch_size}: expected at least 1')
  most_waiting = 4 * batch_size if most_waiting is None else most_waiting
  groups = {}  # in the order in which their first examples came
  for example in examples:
    size = example.image.shape[:2]
    groups.setdefault(size, []).append(example)
    if len(groups[size]) == batch_size:
      yield groups.pop(size)
    elif sum(map(len, groups.values())) > most_waiting:
      yield groups.pop(next(iter(groups)))
  yield from groups.values()


def stack(batch):
  """What a list of examples holds.

  Returns:
    images uint8 [B, H, W, 3], labels and oversegmentations int32 [B, H, W], None where not read.
  """
  def stacked(maps):
    return None if maps[0] is None else np.stack(maps)

  return (np.stack([example.image for example in batch]),
          stacked([example.label for example in batch]),
          stacked([example.oversegmentation for example in batch]))
