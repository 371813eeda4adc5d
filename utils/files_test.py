import errno
import os
import threading

import pytest

from utils import files


def test_the_file_appears_when_the_block_ends(tmp_path):
  path = tmp_path / 'new' / 'a.txt'
  with files.replacing(path, 'w') as file:
    file.write('grün')
    assert not path.exists()
  assert path.read_text(encoding='utf-8') == 'grün'
  assert os.listdir(path.parent) == ['a.txt']


@pytest.mark.parametrize('error', [RuntimeError('x'), KeyboardInterrupt()])
def test_an_exception_leaves_the_older_file_and_nothing_else(tmp_path, error):
  path = tmp_path / 'a.bin'
  path.write_bytes(b'old')
  with pytest.raises(type(error)), files.replacing(path) as file:
    file.write(b'new')
    raise error
  assert path.read_bytes() == b'old'
  assert os.listdir(tmp_path) == ['a.bin']


def test_threads_that_write_the_same_file_do_not_meet(tmp_path):
  path = tmp_path / 'a.txt'
  with files.replacing(path, 'w') as file:
    file.write('one')
    other = threading.Thread(target=files.write_json, args=(path, 2))
    other.start()
    other.join()
    assert path.read_text() == '2\n'
  assert path.read_text() == 'one' and os.listdir(tmp_path) == ['a.txt']


def test_a_full_disk_is_reported_with_the_path(tmp_path):
  path = tmp_path / 'a.bin'
  path.write_bytes(b'old')
  with pytest.raises(OSError, match='No space left.*older file.*a.bin') as caught:
    with files.replacing(path):
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
  assert caught.value.errno == errno.ENOSPC
  assert path.read_bytes() == b'old'


def test_json_goes_round_and_a_nan_is_refused(tmp_path):
  path = tmp_path / 'a.json'
  files.write_json(path, {'a': [1, 'ü']})
  assert files.read_json(path) == {'a': [1, 'ü']}
  with pytest.raises(ValueError, match='JSON compliant'):
    files.write_json(path, {'a': float('nan')})
  assert files.read_json(path) == {'a': [1, 'ü']}


def test_a_damaged_json_file_is_named(tmp_path):
  path = tmp_path / 'a.json'
  path.write_text('{"a": ')
  with pytest.raises(ValueError, match='a.json is not a JSON file'):
    files.read_json(path)


def test_a_lock_keeps_others_out_until_it_is_released(tmp_path):
  order = []

  def other():
    with files.locked(tmp_path / 'new' / '.lock'):
      order.append('other')
  thread = threading.Thread(target=other)
  with files.locked(tmp_path / 'new' / '.lock') as is_locked:
    assert is_locked
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    order.append('first')
  thread.join(5)
  assert order == ['first', 'other']


def test_a_file_system_without_locks_does_for_one_process(tmp_path, monkeypatch):
  fcntl = pytest.importorskip('fcntl')

  def fail(number):
    def flock(*arguments):
      raise OSError(number, 'no')
    monkeypatch.setattr(fcntl, 'flock', flock)
  fail(errno.ENOLCK)
  with files.locked(tmp_path / '.lock') as is_locked:
    assert not is_locked
  fail(errno.EIO)
  with pytest.raises(OSError, match='no'), files.locked(tmp_path / '.lock'):
    pytest.fail('not locked')
