"""Oversegmentations of many images: which are to be made, and making them on all cores."""

import dataclasses
import functools
import io
import os
import pathlib

import scipy.io

from utils import contours, files, images, oversegmentation
from utils.background import map_processes

_ENDINGS = {'.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.ppm', '.webp'}


@dataclasses.dataclass(frozen=True)
class Job:
  """One image: its path, a contour map's path or a detector's name, and the files to write."""
  image: str
  contours: str
  mask: str
  ucm: str | None


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


def parse_shard(text):
  """`I/N` as two ints, 0 <= I < N."""
  index, _, count = text.partition('/')
  if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
    raise ValueError(f'--shard {text}: write I/N with 0 <= I < N, such as 0/4 .. 3/4')
  return int(index), int(count)


def plan(source, data_dir, contour_source, output, ucm_dir, shard, config):
  """What is to be done.

  The settings are kept in `<output>/oversegmentation.json`, so that a repeated call does not mix
  masks that were made differently.

  Args:
    source, data_dir: of `find_images`.
    contour_source: a folder, or a name in `contours.DETECTORS`.
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
  detects = contour_source in contours.DETECTORS
  if not detects and not os.path.isdir(contour_source):
    raise FileNotFoundError(f'{contour_source}: neither a folder nor a built-in detector '
                            f'({", ".join(contours.DETECTORS)}) (--contours)')
  inputs = {pathlib.Path(path).resolve().parent for path in paths}
  inputs |= set() if detects else {pathlib.Path(contour_source).resolve()}
  for folder in filter(None, (output, ucm_dir)):
    if pathlib.Path(folder).resolve() in inputs:
      raise ValueError(f'{folder}: holds the images or contours; name another folder for results')
  record = pathlib.Path(output) / 'oversegmentation.json'
  made_with = {'contours': contour_source if detects else str(pathlib.Path(
      contour_source).resolve()), **dataclasses.asdict(config)}
  if record.exists() and files.read_json(record) != made_with:
    raise ValueError(f'{record}: the masks there were made otherwise ({files.read_json(record)}, '
                     f'not {made_with}): remove the folder or name another (--output)')
  files.write_json(record, made_with)

  jobs, kept, missing = [], 0, []
  for path in paths:
    name = pathlib.Path(path).stem
    job = Job(path, contour_source, str(pathlib.Path(output) / f'{name}.png'),
              str(pathlib.Path(ucm_dir) / f'{name}.mat') if ucm_dir else None)
    if all(os.path.exists(made) for made in filter(None, (job.mask, job.ucm))):
      kept += 1
      continue
    if not detects:
      found = oversegmentation.find_contours(contour_source, name)
      if found is None:
        missing.append((path, str(pathlib.Path(contour_source) / name)))
        continue
      job = dataclasses.replace(job, contours=str(found))
    jobs.append(job)
  return jobs, kept, missing


def make_one(job, config):
  """Makes the files of one `Job`, the mask last; returns its number of regions."""
  image = images.read_image(job.image)
  if job.contours in contours.DETECTORS:
    found = contours.DETECTORS[job.contours](image)
  else:
    found = oversegmentation.read_contours(job.contours, job.image, image.shape[:2])
  mask, ucm = oversegmentation.oversegment(found, config)
  if job.ucm:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {'ucm2': ucm.picture()}, do_compression=True)
    with files.replacing(job.ucm) as file:
      file.write(buffer.getvalue())
  images.write_png(job.mask, mask)
  return int(mask.max()) + 1


def make_all(jobs, config, workers=0):
  """Makes all jobs in several processes, with a progress bar; one that fails stops no other.

  Args:
    jobs: list of `Job`.
    config: `oversegmentation.OversegmentationConfig`.
    workers: processes; 0 for one a core.

  Returns:
    The numbers of regions of the images made, and messages of those that failed.
  """
  regions, failures = [], []
  for count, message in map_processes(functools.partial(_attempt, config=config), jobs, workers):
    if message is None:
      regions.append(count)
    else:
      failures.append(message)
  return regions, failures


def _attempt(job, config):
  """(number of regions, None), or (None, message); nothing that an image does ends the batch."""
  try:
    return make_one(job, config), None
  except Exception as error:
    text = str(error)
    return None, text if job.image in text or job.contours in text else (
        f'{job.image}: {type(error).__name__}: {text}')
