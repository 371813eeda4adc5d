"""Another form of a bank: fewer bits, or in the order of an index."""

import dataclasses
import pathlib

from network.segsort.compression import STORAGES
from seg_models import bank as banks
from seg_models.bank_index import make_index, save_index
from seg_models.inference_setup import require
from utils.configuration import option


@dataclasses.dataclass(frozen=True)
class ConversionConfig:
  """From which bank to which."""
  prototype_dir: str = option('', 'folder of the bank, which stays as it is')
  save_dir: str = option('', 'folder whose prototypes/ will be the new bank')
  bank_storage: str | None = option(
      None, "type of the new bank's features; default: as they are", choices=STORAGES)
  index: bool = option(
      False, 'sort the prototypes by cells and add prototype_index.npz, for --search ivf')
  index_cells: int | None = option(
      None, "cells of the index; default: the square root of the bank's size")
  index_recall: float = option(
      0.99, 'share of the nearest neighbours that the index is to find; tried on prototypes of the '
      'bank, neighbours of the same image left out')
  k_in_nearest_neighbors: int = option(15, 'neighbours that will be asked of the index at most')


def convert(config):
  """Writes a bank anew into `<save_dir>/prototypes/`; returns 0.

  Raises:
    ValueError, OSError: there is no bank to read, or one already where it is to be written, or a
      flag is wrong.
  """
  require(prototype_dir=config.prototype_dir, save_dir=config.save_dir)
  folder = pathlib.Path(config.save_dir) / 'prototypes'
  there = [name for name in banks.FILES if (folder / name).exists()]
  if there:
    raise ValueError(f'{folder} already holds {there[0]}: name another --save_dir')
  if config.index_cells is not None and not config.index:
    raise ValueError('--index_cells are the cells of --index: give that too')
  bank = banks.load_bank(config.prototype_dir)
  storage = config.bank_storage or bank.features.dtype.name
  if not config.index:
    banks.save_bank(bank, folder, storage)
    index = ''
  else:
    made, order = make_index(
        bank, config.k_in_nearest_neighbors, config.index_recall, config.index_cells)
    info = {name: values if name == 'images' else values[order]
            for name, values in bank.info.items()}
    banks.write_bank(folder, bank.features.shape, storage, bank.blocks(storage, order),
                     bank.labels[order], info)
    save_index(made, folder, banks.load_bank(folder, info=False).fingerprint())
    index = (f'; an index of {len(made.centres)} cells, of which a search goes through '
             f'{made.probes} and finds {made.recall:.4f} of the {made.k} nearest prototypes of '
             'other images')
  size = (folder / banks.FEATURES).stat().st_size / 1e6
  print(f'{len(bank)} prototypes, {storage}, {size:.1f} MB in {folder}{index}')
  return 0
