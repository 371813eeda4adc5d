"""Finds masks that do not mean what they should, and says what is likely wrong with them."""

import numpy as np

from utils import colors


def check_sizes(image, mask, image_path, mask_path):
  """Raises a ValueError naming both files unless mask [h, w] and image [h, w, 3] agree in size."""
  if image.shape[:2] != mask.shape[:2]:
    (height, width), (mask_height, mask_width) = image.shape[:2], mask.shape[:2]
    raise ValueError(f'{mask_path} is {mask_width}x{mask_height}, but {image_path} is '
                     f'{width}x{height} (width x height): is it another image\'s mask, or was only '
                     'one of them resized or rotated?')


def check_labels(label, dataset, path):
  """Checks that every label is one of the data set's classes or its ignore label.

  Args:
    label: int32 [height, width], after `Dataset.from_file`.
    dataset: `seg_models.datasets.Dataset`.
    path: the mask's file.

  Raises:
    ValueError: names the file, the labels that are neither, and the likely cause.
  """
  wrong = (label != dataset.ignore_label) & ((label < 0) | (label >= dataset.num_classes))
  if wrong.any():
    values = [int(value) for value in np.unique(label[wrong])]
    shown = ', '.join(map(str, values[:10])) + (', ...' if len(values) > 10 else '')
    raise ValueError(
        f'{path}: values {shown}: expected the {dataset.num_classes} classes 0 to '
        f'{dataset.num_classes - 1} and {dataset.ignore_label} for pixels that do not count. '
        f'{_likely_cause(values, str(path))}')


def _palette_lumas():
  """The gray values that VOC's colours become when a palette is read as an ordinary picture."""
  classes_and_void = colors.voc_palette()[[*range(21), 255]]
  luma = classes_and_void @ np.array([0.299, 0.587, 0.114])
  return {int(value) for value in np.concatenate([np.floor(luma), np.ceil(luma)])}


def _likely_cause(values, path):
  if values == [255]:
    return 'Is 255 the label to ignore (--ignore_label 255), or is it a mask of 0 and 255?'
  if set(values) <= _palette_lumas():
    return ('A colour palette that was turned into gray? Write the class ids themselves, as gray '
            'or palette PNG.')
  if path.endswith('_labelIds.png') and max(values) <= 33:
    return 'Raw labelIds of Cityscapes? Give --dataset cityscapes, which maps them to classes.'
  if values[-1] > 255:
    return 'Ids of instances, or labels scaled to 16 bits? Write the class ids themselves.'
  return 'A wrong --num_classes, --dataset or --ignore_label, or another kind of file?'
