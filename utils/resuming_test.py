import os
import threading

import pytest

from utils import files, resuming


def make(folder, *names):
  for name in names:
    (folder / name).write_text('x')
  return [folder / name for name in names]


def test_a_fingerprint_follows_the_content(tmp_path):
  make(tmp_path, 'a', 'b')
  assert resuming.fingerprint(tmp_path / 'a') == resuming.fingerprint(tmp_path / 'b')
  assert len(resuming.fingerprint(tmp_path / 'a')) == 16
  (tmp_path / 'b').write_text('y')
  assert resuming.fingerprint(tmp_path / 'a') != resuming.fingerprint(tmp_path / 'b')


def test_the_index_stands_for_a_checkpoint(tmp_path):
  (tmp_path / 'model.ckpt-3.index').write_bytes(b'one')
  first = resuming.fingerprint(tmp_path / 'model.ckpt-3')
  (tmp_path / 'model.ckpt-3.index').write_bytes(b'two')
  assert resuming.fingerprint(tmp_path / 'model.ckpt-3') != first
  with pytest.raises(FileNotFoundError, match='model.ckpt-4'):
    resuming.fingerprint(tmp_path / 'model.ckpt-4')


def test_a_stamp_follows_place_size_and_time(tmp_path):
  paths = make(tmp_path, 'a', 'b')
  stamp = resuming.stamp(*paths)
  assert stamp == resuming.stamp(*paths) and stamp != resuming.stamp(*paths[::-1])
  (tmp_path / 'link').symlink_to(tmp_path)
  assert resuming.stamp(*(tmp_path / 'link' / name for name in 'ab')) == stamp
  status = paths[1].stat()
  paths[1].write_text('yy')
  os.utime(paths[1], ns=(status.st_atime_ns, status.st_mtime_ns))
  longer = resuming.stamp(*paths)
  assert longer != stamp
  os.utime(paths[1], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
  assert resuming.stamp(*paths) not in (stamp, longer)


SOURCES = {'a': '1', 'b': '2'}


def claim(folder, settings, *names, sources=SOURCES, **options):
  """Claims with outputs of these names; those that `all` begins depend on all sources."""
  outputs = {folder / name: None if name.startswith('all') else name[0] for name in names}
  resuming.claim(folder / 'run.json', settings, sources, outputs, **options)
  return sorted(path.name for path in folder.glob('[!.]*') if path.name != 'run.json')


def test_the_same_settings_go_on(tmp_path):
  assert claim(tmp_path, {'k': 15, 'scales': (1, 2)}) == []
  make(tmp_path, 'a.png')
  assert claim(tmp_path, {'k': 15, 'scales': (1, 2)}, 'a.png') == ['a.png']
  assert files.read_json(tmp_path / 'run.json') == {
      'complete': False, 'settings': {'k': 15, 'scales': [1, 2]}, 'sources': SOURCES}


def test_an_unfinished_run_is_protected_from_other_settings(tmp_path):
  claim(tmp_path, {'k': 15, 'bank': 'abc'})
  make(tmp_path, 'a.png')
  before = (tmp_path / 'run.json').read_text()
  with pytest.raises(ValueError, match=r'unfinished .*\(k: 15 there, 21 now\): finish it, name'):
    claim(tmp_path, {'k': 21, 'bank': 'abc'}, 'a.png')
  assert (tmp_path / 'a.png').exists() and (tmp_path / 'run.json').read_text() == before


def test_a_run_that_made_nothing_is_not_in_the_way(tmp_path, capsys):
  claim(tmp_path, {'k': 15})
  assert claim(tmp_path, {'k': 21}) == []
  assert files.read_json(tmp_path / 'run.json')['settings'] == {'k': 21}
  assert capsys.readouterr().out == ''


def test_a_finished_run_is_replaced_with_a_line_that_says_so(tmp_path, capsys):
  claim(tmp_path, {'k': 15})
  make(tmp_path, 'a.png', 'b.png', 'notes.txt')
  resuming.complete(tmp_path / 'run.json')
  assert claim(tmp_path, {'k': 15}, 'a.png', 'b.png') == ['a.png', 'b.png', 'notes.txt']
  resuming.complete(tmp_path / 'run.json')
  assert capsys.readouterr().out == ''
  assert claim(tmp_path, {'k': 21}, 'a.png', 'b.png') == ['notes.txt']
  line, = capsys.readouterr().out.splitlines()
  assert 'finished run with other settings (k: 15 there, 21 now) are replaced' in line
  make(tmp_path, 'a.png')  # the first of the new ones
  with pytest.raises(ValueError, match='21 there, 15 now'):
    claim(tmp_path, {'k': 15}, 'a.png')


def test_what_was_made_from_other_files_is_made_again(tmp_path, capsys):
  claim(tmp_path, {})
  make(tmp_path, 'a.png', 'b.png', 'b.json', 'all.npy')
  names = ['all.npy', 'a.png', 'b.png', 'b.json']
  resuming.complete(tmp_path / 'run.json')
  assert claim(tmp_path, {}, *names, sources={'b': '3'}) == ['a.png']
  assert '3 files made from images or masks that have changed' in capsys.readouterr().out
  record = files.read_json(tmp_path / 'run.json')
  assert record['sources'] == {'a': '1', 'b': '3'} and not record['complete']


def test_another_list_adds_to_what_is_there(tmp_path):
  claim(tmp_path, {})
  make(tmp_path, 'a.png')
  assert claim(tmp_path, {}, 'a.png', sources={'c': '4'}) == ['a.png']
  assert files.read_json(tmp_path / 'run.json')['sources'] == {**SOURCES, 'c': '4'}


def test_outputs_of_unknown_origin_are_refused(tmp_path):
  make(tmp_path, 'b.png', 'a.png')
  with pytest.raises(ValueError, match='already holds a.png.*--overwrite'):
    claim(tmp_path, {}, 'b.png', 'a.png')


@pytest.mark.parametrize('old', [None, {'k': 15}, {'k': 21}, 'damaged'])
def test_overwriting_removes_the_outputs_and_nothing_else(tmp_path, old):
  if old == 'damaged':
    files.write_json(tmp_path / 'run.json', {'k': 15})
    with pytest.raises(ValueError, match='run.json is not a record'):
      claim(tmp_path, {'k': 21})
  elif old:
    claim(tmp_path, old)
  make(tmp_path, 'a.png', 'b.png', 'notes.txt')
  assert claim(tmp_path, {'k': 21}, 'a.png', 'b.png', overwrite=True) == ['notes.txt']
  assert files.read_json(tmp_path / 'run.json')['settings'] == {'k': 21}


@pytest.mark.parametrize('how', ['overwrite', 'finished', 'changed'])
def test_a_run_killed_while_removing_does_not_pass_old_outputs_off_as_new(
    tmp_path, monkeypatch, how):
  claim(tmp_path, {'k': 15})
  outputs = make(tmp_path, 'a.png', 'b.png')
  resuming.complete(tmp_path / 'run.json')
  new = {'settings': {'k': 15 if how == 'changed' else 21}, 'overwrite': how == 'overwrite',
         'sources': {'a': '8', 'b': '9'} if how == 'changed' else SOURCES}
  monkeypatch.setattr(type(outputs[0]), 'unlink', interrupted_after(1, type(outputs[0]).unlink))
  with pytest.raises(KeyboardInterrupt):
    claim(tmp_path, new['settings'], 'a.png', 'b.png', sources=new['sources'],
          overwrite=new['overwrite'])
  monkeypatch.undo()
  assert claim(tmp_path, new['settings'], 'b.png', sources=new['sources']) == []


def interrupted_after(count, function):
  calls = []

  def wrapped(*arguments, **keywords):
    calls.append(arguments)
    if len(calls) > count:
      raise KeyboardInterrupt
    return function(*arguments, **keywords)
  return wrapped


def test_a_folder_is_held_by_one_process_and_completed_after(tmp_path):
  claim(tmp_path, {})
  order = []

  def other():
    resuming.complete(tmp_path / 'run.json')
    order.append('complete')
  thread = threading.Thread(target=other)
  with resuming.held(tmp_path / 'run.json'):
    thread.start()
    thread.join(0.2)
    order.append('claimed')
  thread.join(5)
  assert order == ['claimed', 'complete']
  assert files.read_json(tmp_path / 'run.json')['complete']
