import errno

import numpy as np
import pytest

from utils.cached_rows import cached_rows, key_of

MANIFEST = {'kind': 'squares', 'of': 7}


class Squares:
  """Rows i -> [i, i^2] and i, of which each knows how often it was made."""

  def __init__(self, stop=None, step=2):
    self.made = []
    self.stop = stop
    self.step = step

  def __call__(self, first):
    for begin in range(first, 7, self.step):
      if self.stop is not None and begin >= self.stop:
        raise KeyboardInterrupt
      numbers = np.arange(begin, min(begin + self.step, 7))
      self.made += numbers.tolist()
      yield {'pairs': np.stack([numbers, numbers ** 2], 1).astype(np.float16),
             'numbers': numbers.astype(np.int32)}


def check(arrays):
  assert sorted(arrays) == ['numbers', 'pairs']
  np.testing.assert_array_equal(arrays['numbers'], np.arange(7))
  np.testing.assert_array_equal(arrays['pairs'], np.stack([np.arange(7), np.arange(7) ** 2], 1))
  assert arrays['pairs'].dtype == np.float16
  assert isinstance(arrays['pairs'], np.memmap) and not arrays['pairs'].flags.writeable


def test_rows_are_made_once(tmp_path):
  make = Squares()
  check(cached_rows(tmp_path, MANIFEST, 7, make, 'squares'))
  check(cached_rows(tmp_path, MANIFEST, 7, make, 'squares'))
  assert make.made == list(range(7))
  cached_rows(tmp_path, {**MANIFEST, 'of': 8}, 7, make, 'squares')
  assert len(make.made) == 14


def test_what_was_interrupted_goes_on(tmp_path):
  first = Squares(stop=4)
  with pytest.raises(KeyboardInterrupt):
    cached_rows(tmp_path, MANIFEST, 7, first, 'squares')
  folder = tmp_path / f'squares-{key_of(MANIFEST)}'
  assert not folder.exists()
  second = Squares(step=3)
  check(cached_rows(tmp_path, MANIFEST, 7, second, 'squares'))
  assert second.made == [4, 5, 6]
  assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [folder.name]


@pytest.mark.parametrize('cut', [1, 5, 20])
def test_a_row_that_was_cut_off_is_made_again(tmp_path, cut):
  """A process may be killed between the files, within a row, or within the header."""
  with pytest.raises(KeyboardInterrupt):
    cached_rows(tmp_path, MANIFEST, 7, Squares(stop=4), 'squares')
  path = tmp_path / f'.squares-{key_of(MANIFEST)}.partial' / 'pairs.npy'
  path.write_bytes(path.read_bytes()[:-cut])
  check(cached_rows(tmp_path, MANIFEST, 7, Squares(), 'squares'))


def test_other_rows_are_not_appended(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    cached_rows(tmp_path, MANIFEST, 7, Squares(stop=4), 'squares')

  def wider(first):
    yield {'pairs': np.zeros([7 - first, 3], np.float16)}

  with pytest.raises(ValueError, match=r'float16 \(2,\), not float16 \(3,\): remove'):
    cached_rows(tmp_path, MANIFEST, 7, wider, 'squares')


def test_a_full_disk_is_said_and_keeps_what_is_there(tmp_path, monkeypatch):
  from utils import cached_rows as module

  class Full:
    def __enter__(self):
      return self

    def __exit__(self, *_):
      pass

    def write(self, data):
      raise OSError(28, 'No space left on device')

  monkeypatch.setattr(module, '_open', lambda *_: Full())
  with pytest.raises(OSError, match='No space left.*make room'):
    cached_rows(tmp_path, MANIFEST, 7, Squares(), 'squares')


def test_without_locks_each_process_makes_its_own(tmp_path, monkeypatch, capsys):
  """Two hosts at the same time: neither writes the other's files, and who is later does no harm."""
  from utils import cached_rows as module
  fcntl = pytest.importorskip('fcntl')

  def flock(*arguments):
    raise OSError(errno.ENOLCK, 'No locks available')

  monkeypatch.setattr(fcntl, 'flock', flock)
  inner = Squares()

  def outer(first):
    """Rows of a host, while another one makes all of them."""
    for rows in Squares()(first):
      yield rows
      if not inner.made:
        with monkeypatch.context() as other:
          other.setattr(module.socket, 'gethostname', lambda: 'other')
          check(cached_rows(tmp_path, MANIFEST, 7, inner, 'squares'))

  check(cached_rows(tmp_path, MANIFEST, 7, outer, 'squares'))
  assert inner.made == list(range(7))
  assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [
      f'squares-{key_of(MANIFEST)}']
  assert capsys.readouterr().out.count('locks are not to be had') == 2


def test_what_another_process_left_without_locks_is_not_gone_on_with(tmp_path, monkeypatch):
  from utils import cached_rows as module
  monkeypatch.setattr(module.files, 'locked', lambda path: module.contextlib.nullcontext(False))
  with pytest.raises(KeyboardInterrupt):
    cached_rows(tmp_path, MANIFEST, 7, Squares(stop=4), 'squares')
  monkeypatch.setattr(module.os, 'getpid', lambda: -1)
  make = Squares()
  check(cached_rows(tmp_path, MANIFEST, 7, make, 'squares'))
  assert make.made == list(range(7))
