"""Pseudo-classes of a data set: found among its segments, and kept in a file."""

import dataclasses
import hashlib
import json
import pathlib
import zipfile

import numpy as np
import tqdm

from network.segsort.pseudo_classes import cluster_prototypes
from seg_models.datasets import Dataset
from utils import colors, files

FILE = 'clusters.npz'
MOST = (1 << 16) - 1  # a gray picture has 16 bits
WEIGHTS = ('pixels', 'segments')


@dataclasses.dataclass(frozen=True, eq=False)
class PseudoClasses:
  """The centres of K groups of segments, and what is known of these.

  Attributes:
    centres: float32 [K, D] of unit length.
    segments: int64 [K], how many segments the groups had where they were found.
    pixels: int64 [K], likewise.
    objective: float, the weighted mean cosine of these segments and their centres.
    network: the `utils.resuming.fingerprint` of the checkpoint that the embeddings are of.
    embedding: `embedding_of` this network; '' where an older version of this project has not
      written it down.
    inputs: 16 hex digits that change with all that the centres were computed from.
  """
  centres: np.ndarray
  segments: np.ndarray
  pixels: np.ndarray
  objective: float
  network: str
  inputs: str
  embedding: str = ''

  def __len__(self):
    return len(self.centres)

  @property
  def dim(self):
    return self.centres.shape[1]

  def fingerprint(self):
    """16 hex digits that change with the centres."""
    return _digest(self.centres)


def pseudo_dataset(count):
  """A `Dataset` of `count` pseudo-classes, in VOC's colours from the second on: none is black."""
  return Dataset('pseudo-classes', tuple(f'group {index}' for index in range(count)),
                 colors.voc_palette(count + 1)[1:])


def find_pseudo_classes(bank, count, network, path, *, embedding='', weights='pixels', restarts=10,
                        seed=0):
  """Groups the segments of a bank, and keeps the groups in a file.

  Args:
    bank: `Bank` with `pixels`.
    count: number of groups.
    network, embedding: see `PseudoClasses`.
    path: the file; where the same groups are in it already, nothing is computed.
    weights: one of `WEIGHTS`, what counts equally.
    restarts: attempts, of which the best is taken.
    seed: non-negative int.

  Returns:
    `PseudoClasses`.

  Raises:
    ValueError: there are fewer segments, or fewer different ones, than groups.
  """
  if count > len(bank):
    raise ValueError(f'--cluster_classes {count}: the images have {len(bank)} segments in all; '
                     'choose at most as many')
  inputs = _digest(bank.features, bank.pixels, np.array([count, restarts, seed]), np.array(weights))
  path = pathlib.Path(path)
  if path.exists():
    known = load_pseudo_classes(path)
    if (known.inputs, known.network, known.embedding) == (inputs, network, embedding):
      return known
  attempts = tqdm.tqdm([[seed, attempt] for attempt in range(restarts)], desc='k-means')
  try:
    found = cluster_prototypes(
        bank.features, count, attempts, bank.pixels if weights == 'pixels' else None)
  except ValueError as error:
    raise ValueError(f'--cluster_classes {count}: {error}') from error
  classes = PseudoClasses(
      found.centres, np.bincount(found.labels, minlength=count),
      np.bincount(found.labels, bank.pixels, count).astype(np.int64), found.objective, network,
      inputs, embedding)
  save_pseudo_classes(classes, path)
  return classes


def embedding_of(network):
  """Which output of which network an embedding is: JSON text of a dict.

  All that decides what a direction means. How an image is gone over and cut (windows, clusters, the
  weight of places in the clustering) decides which segments there are; their prototypes, means of
  embeddings, can be compared all the same, as with a bank.

  Args:
    network: `seg_models.inference_setup.Network`.
  """
  model = network.settings['model']
  return json.dumps({
      'output': 'projection' if 'projection' in model else 'head',
      'untrained_head': network.settings.get('untrained_head', False), **model}, sort_keys=True)


def check_network(classes, network, path):
  """Raises a ValueError where `PseudoClasses` of a file are not of a network's embeddings."""
  if (classes.dim, classes.network) != (network.dim, network.settings['checkpoint']):
    raise ValueError(
        f'--cluster_centres {path} are of the embeddings ({classes.dim} dimensions) of another '
        f'checkpoint than --restore_from (embeddings of {network.dim} dimensions): give that one')
  theirs = json.loads(classes.embedding) if classes.embedding else {}
  # What only one of them has is of another version of this project.
  differences = [f'{name}: {theirs[name]!r} there, {value!r} now'
                 for name, value in json.loads(embedding_of(network)).items()
                 if theirs.get(name, value) != value]
  if differences:
    raise ValueError(f'--cluster_centres {path} are of another embedding of this checkpoint '
                     f'({"; ".join(differences)}): give the flags that they were found with')


def save_pseudo_classes(classes, path):
  """Writes the file that `load_pseudo_classes` reads."""
  with files.replacing(path) as file:
    np.savez(file, **dataclasses.asdict(classes))


def load_pseudo_classes(path):
  """Reads what `save_pseudo_classes` has written.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is damaged or another file.
  """
  remedy = f'it is to be the {FILE} that inference_segsort.py --cluster_classes has written'
  try:
    with open(path, 'rb') as file, np.load(file, allow_pickle=False) as stored:
      values = dict(stored)
    values.setdefault('embedding', np.array(''))
    scalars = {name: values[name].item()
               for name in ('objective', 'network', 'inputs', 'embedding')}
    classes = PseudoClasses(**{**values, **scalars})
  except FileNotFoundError:
    raise FileNotFoundError(f'{path} does not exist: {remedy}') from None
  except (ValueError, KeyError, TypeError, AttributeError, EOFError,
          zipfile.BadZipFile) as error:
    raise ValueError(f'{path} cannot be read ({error}): {remedy}') from error
  if classes.centres.ndim != 2 or not 1 <= len(classes) <= MOST:
    raise ValueError(f'{path} has centres of shape {classes.centres.shape}: {remedy}')
  return classes


def _digest(*arrays):
  digest = hashlib.sha256()
  for array in arrays:
    digest.update(f'{array.dtype} {array.shape}'.encode())
    digest.update(np.ascontiguousarray(array))
  return digest.hexdigest()[:16]
