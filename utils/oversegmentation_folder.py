"""Oversegmentations of many images: which are to be made, and making them on all cores."""

import collections.abc
import dataclasses
import functools
import io
import os
import pathlib

import scipy.io

from utils import files, images, oversegmentation, resuming
from utils.background import map_processes
from utils.cluster import parse_shard
from utils.contours import DETECTORS

_ENDINGS = {'.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.ppm', '.webp'}


@dataclasses.dataclass(frozen=True)
class Contours:
  """Where contours come from: a folder of maps, or a detector.

  Attributes:
    settings: dict of JSON values that tells these contours from others.
    maps: folder of `<id>.npy` or `<id>.png`; None for a detector.
    detector: function of an image, uint8 [height, width, 3], to float [height, width], 0..1.
    parallel: the detector can be pickled, and works on one core: it is called in the processes that
      share the images. Otherwise it is called in this process, one image at a time.
  """
  settings: dict
  maps: str | None = None
  detector: collections.abc.Callable | None = None
  parallel: bool = True


@dataclasses.dataclass(frozen=True)
class Job:
  """One image: its path, its contour map's (None: a detector's work), and the files to write."""
  image: str
  contours: str | None
  mask: str
  ucm: str | None


def contours_of(name):
  """`Contours` of a folder's path, or of a name in `utils.contours.DETECTORS`.

  Raises:
    FileNotFoundError: it is neither.
  """
  if name in DETECTORS:
    return Contours({'contours': name}, detector=DETECTORS[name])
  if not os.path.isdir(name):
    raise FileNotFoundError(f'{name}: neither a folder nor a built-in detector '
                            f'({", ".join(DETECTORS)}, hed) (--contours)')
  return Contours({'contours': str(pathlib.Path(name).resolve())}, maps=name)


def find_images(source, data_dir=''):
  """The images of a folder, or in the first column of a list file.

  Returns:
    List of paths (str), sorted if of a folder; each once.

  Raises:
    FileNotFoundError: there is no such folder or list.
    ValueError: it holds no image, or two images have the same name, which would share a mask.
  """
  source = pathlib.Path(source)
  if source.is_dir():
    paths = [str(path) for path in sorted(source.iterdir()) if path.suffix.lower() in _ENDINGS]
  elif source.is_file():
    lines = source.read_text(encoding='utf-8-sig').splitlines()
    names = [line.split()[0] for line in lines if line.strip()]
    paths = [os.path.join(data_dir, name.lstrip('/')) if data_dir else name for name in names]
    paths = list(dict.fromkeys(paths))
  else:
    raise FileNotFoundError(f'{source}: there is no such folder or list file (--images)')
  if not paths:
    raise ValueError(f'{source}: no images (--images; known endings: {" ".join(sorted(_ENDINGS))})')
  known = {}
  for path in paths:
    other = known.setdefault(pathlib.Path(path).stem, path)
    if other != path:
      raise ValueError(f'{other} and {path} would share one mask, which is named after the image: '
                       'rename one, or make them in separate calls')
  return paths


def plan(source, data_dir, contours, output, ucm_dir, shard, config):
  """What is to be done.

  The settings are kept in `<output>/oversegmentation.json`, so that a repeated call does not mix
  masks that were made differently. So are the sizes, times and fingerprints of the images and
  contour maps that each mask, and each hierarchy, is made from: where their content has changed
  since, it is removed and made again, which a line says. Files of other times, as another host's
  copies are, are read to see that.

  Args:
    source, data_dir: of `find_images`.
    contours: `Contours`.
    output, ucm_dir: folders to write to; `ucm_dir` may be None.
    shard: 'I/N'.
    config: `oversegmentation.OversegmentationConfig`.

  Returns:
    List of `Job`, the number of images that are done already, and a list of (image, path without
    ending) whose contour maps are missing.

  Raises:
    FileNotFoundError: a folder is missing.
    ValueError: the output would replace the images or contours, or was made with other settings.
  """
  index, count = parse_shard(shard)
  paths = find_images(source, data_dir)[index::count]
  inputs = {pathlib.Path(path).resolve().parent for path in paths}
  inputs |= {pathlib.Path(contours.maps).resolve()} if contours.maps else set()
  for folder in filter(None, (output, ucm_dir)):
    if pathlib.Path(folder).resolve() in inputs:
      raise ValueError(f'{folder}: holds the images or contours; name another folder for results')
  record = pathlib.Path(output) / 'oversegmentation.json'
  jobs = []
  for path in paths:
    name = pathlib.Path(path).stem
    file = oversegmentation.find_contours(contours.maps, name) if contours.maps else None
    jobs.append(Job(path, file and str(file), str(pathlib.Path(output) / f'{name}.png'),
                    str(pathlib.Path(ucm_dir) / f'{name}.mat') if ucm_dir else None))
  with resuming.held(record):
    _claim(record, {**contours.settings, **dataclasses.asdict(config)}, jobs)

  left = [job for job in jobs
          if not all(os.path.exists(made) for made in filter(None, (job.mask, job.ucm)))]
  missing = {job.image: str(pathlib.Path(contours.maps) / pathlib.Path(job.image).stem)
             for job in left if contours.maps and job.contours is None}
  return ([job for job in left if job.image not in missing], len(jobs) - len(left),
          list(missing.items()))


def _claim(record, made_with, jobs):
  """Removes what is made of files that have changed, and writes the record that `plan` describes.

  A mask and its hierarchy have a record each: a call without `ucm_dir` makes masks anew, and leaves
  the hierarchies that are there as they are.

  What is removed goes first: a process killed in between leaves a record that is true of every mask
  there is.

  Raises:
    ValueError: the masks were made with other settings.
  """
  old = files.read_json(record) if record.exists() else {}
  of_masks = old.pop('sources', {})
  # An older version kept one record for both.
  of_ucms = old.pop('ucm_sources', dict(of_masks))
  if old and old != made_with:
    raise ValueError(f'{record}: the masks there were made otherwise ({old}, not {made_with}): '
                     'remove the folder or name another (--output)')
  changed = 0
  for job in jobs:
    name = pathlib.Path(job.image).stem
    now = [_state(path, known) for path, known in zip(
        (job.image, job.contours), of_masks.get(name, (None, None)), strict=True)]
    stale = []
    for made, sources in ((job.mask, of_masks), (job.ucm, of_ucms)):
      if made:
        before = sources.get(name)
        if os.path.exists(made) and _has_changed(made, before, now):
          stale.append(made)
        # A contour map that was removed once its mask was there says nothing about the mask.
        sources[name] = [new or known for new, known in zip(now, before or now, strict=True)]
    for path in stale:
      pathlib.Path(path).unlink()
    changed += bool(stale)
  if changed:
    print(f'{record.parent}: {changed} masks are made again, for their images or contour maps have '
          'changed since')
  files.write_json(record, {**made_with, 'sources': of_masks, 'ucm_sources': of_ucms})


def _state(path, known):
  """A file's size, time and fingerprint, wherever it is moved, as a text; None without a file.

  It is read only where `known`, its state when it was last looked at, is of another size or time.
  """
  if path is None or not os.path.exists(path):
    return None
  status = os.stat(path)
  seen = [str(status.st_size), str(status.st_mtime_ns)]
  if known and known.split()[:2] == seen and len(known.split()) == 3:
    return known
  return ' '.join([*seen, resuming.fingerprint(path)])


def _has_changed(made, before, now):
  """Whether what the file `made` is made from is of other content than it was."""
  if before is None:  # a mask of an older version of this project, which kept no record of files
    time = os.stat(made).st_mtime_ns
    return any(state and int(state.split()[1]) > time for state in now)
  return any(old and new and not _is_same(old.split(), new.split())
             for old, new in zip(before, now, strict=True))


def _is_same(old, new):
  """Of two states in parts; an older version's has no fingerprint."""
  return old[0] == new[0] and (old[1] == new[1] or old[2:] == new[2:])


def find_one(job, detector=None):
  """The contours of a `Job`'s image, float [height, width], 0..1: read, or found by a detector."""
  image = images.read_image(job.image)
  if job.contours is None:
    return detector(image)
  return oversegmentation.read_contours(job.contours, job.image, image.shape[:2])


def make_one(job, strength, config):
  """Makes the files of one `Job` from its contours, the mask last; returns how many regions."""
  mask, ucm = oversegmentation.oversegment(strength, config)
  if job.ucm:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {'ucm2': ucm.picture()}, do_compression=True)
    with files.replacing(job.ucm) as file:
      file.write(buffer.getvalue())
  images.write_png(job.mask, mask)
  return int(mask.max()) + 1


def make_all(jobs, contours, config, workers=0):
  """Makes all jobs in several processes, with a progress bar; one that fails stops no other.

  A detector that is not `parallel` works on the next images meanwhile, in this process.

  Args:
    jobs: list of `Job`.
    contours: the `Contours` that they were planned for.
    config: `oversegmentation.OversegmentationConfig`.
    workers: processes; 0 for one a core.

  Returns:
    The numbers of regions of the images made, and messages of those that failed.
  """
  if contours.parallel:
    work, items = functools.partial(_find_and_make, contours.detector, config), jobs
  else:
    work = functools.partial(_make, config)
    items = ((job, *_attempt(find_one, job, contours.detector)) for job in jobs)
  regions, failures = [], []
  for count, message in map_processes(work, items, workers, len(jobs)):
    if message is None:
      regions.append(count)
    else:
      failures.append(message)
  return regions, failures


def _find_and_make(detector, config, job):
  return _make(config, (job, *_attempt(find_one, job, detector)))


def _make(config, item):
  job, strength, message = item
  return (None, message) if message else _attempt(make_one, job, strength, config)


def _attempt(function, job, *arguments):
  """(result, None), or (None, message); nothing that an image does ends the batch."""
  try:
    return function(job, *arguments), None
  except Exception as error:
    text = str(error)
    known = job.image in text or (job.contours and job.contours in text)
    return None, text if known else f'{job.image}: {type(error).__name__}: {text}'
