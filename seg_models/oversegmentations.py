"""Which oversegmentation belongs to an image: the list's, a folder's, or the original's rule."""

import dataclasses
import os

_SHOWN = 20
# Where they come from, for messages.
_MAKE = ('python pyscripts/data/make_oversegmentation.py --images DIR|LIST --contours gradient '
         '--output DIR makes them from images alone, for --oversegmentation_dir DIR')


def with_oversegmentations(entries, directory='', needed=True):
  """Entries that name an existing oversegmentation each, or none where it is not needed.

  Args:
    entries: list of `seg_models.image_reader.Entry`.
    directory: folder with `<id>.png` for every image; '' takes the third column of the list, and
      for lines without one the mask's path with `segcls` replaced by `hed`, as in the original.
    needed: whether anything makes use of them.

  Returns:
    list of `Entry`.

  Raises:
    ValueError: there is neither a column nor a mask's path in which `segcls` could be replaced; or
      an oversegmentation is the image's label file itself: segments would be cut along borders
      that are known of labelled images only; or two images of one name, from several folders, would
      share a file of the directory; or a directory is given that is not needed.
    FileNotFoundError: oversegmentations are missing; they are listed.
  """
  if not needed:
    if directory:
      raise ValueError(
          f'--oversegmentation_dir {directory} is given, but nothing makes use of it: '
          '--initial_segments oversegmentation and --align_segments would, and training without '
          'labels (train_segsort_unsup.py); leave it out')
    return [dataclasses.replace(entry, oversegmentation=None) for entry in entries]
  found = [dataclasses.replace(entry, oversegmentation=_path(entry, directory))
           for entry in entries]
  if directory:
    _refuse_shared(found)
  for entry in found:
    if entry.mask and os.path.realpath(entry.mask) == os.path.realpath(entry.oversegmentation):
      raise ValueError(
          f'{entry.image}: its oversegmentation {entry.oversegmentation} is the label file itself, '
          'so that training without labels would see them, and segments would follow them; name '
          'files of region ids that were made without labels (third column or '
          f'--oversegmentation_dir). {_MAKE}')
  missing = [entry.oversegmentation for entry in found
             if not os.path.isfile(entry.oversegmentation)]
  if missing:
    shown = missing[:_SHOWN] + [f'... and {len(missing) - _SHOWN} more'] * (len(missing) > _SHOWN)
    raise FileNotFoundError(
        f'{len(missing)} of {len(found)} oversegmentations do not exist:\n  ' + '\n  '.join(shown)
        + f'\n{_MAKE}')
  return found


def _path(entry, directory):
  if directory:
    return os.path.join(directory, f'{entry.id}.png')
  if entry.oversegmentation:
    return entry.oversegmentation
  replaced = (entry.mask or '').replace('segcls', 'hed')
  if replaced == (entry.mask or ''):
    why = (f'the mask {entry.mask} has no `segcls` in its path that could become `hed`, as in the '
           'original' if entry.mask else 'its line names nothing but the image')
    raise ValueError(
        f'{entry.image}: no oversegmentation. Give the list a third column or name a folder with '
        f'--oversegmentation_dir; {why}. {_MAKE}')
  return replaced


def _refuse_shared(entries):
  images = {}
  for entry in entries:
    other = images.setdefault(entry.id, entry.image)
    if other != entry.image:
      raise ValueError(
          f'{other} and {entry.image} would share the oversegmentation {entry.oversegmentation}: '
          "rename one, or name each image's own in the list's third column")
