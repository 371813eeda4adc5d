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


def test_the_same_settings_go_on(tmp_path):
  record = tmp_path / 'run.json'
  assert resuming.claim(record, {'k': 15, 'scales': (1, 2)}, [], False) is False
  outputs = make(tmp_path, 'a.png')
  assert resuming.claim(record, {'k': 15, 'scales': (1, 2)}, outputs, False) is True
  assert outputs[0].exists()


def test_other_settings_are_refused_with_the_difference(tmp_path):
  record = tmp_path / 'run.json'
  resuming.claim(record, {'k': 15, 'bank': 'abc'}, [], False)
  outputs = make(tmp_path, 'a.png')
  with pytest.raises(ValueError, match=r'\(k: 15 there, 21 now\): name another --save_dir'):
    resuming.claim(record, {'k': 21, 'bank': 'abc'}, outputs, False)
  assert outputs[0].exists() and files.read_json(record) == {'k': 15, 'bank': 'abc'}


def test_outputs_of_unknown_origin_are_refused(tmp_path):
  outputs = make(tmp_path, 'b.png', 'a.png')
  with pytest.raises(ValueError, match='already holds a.png.*--overwrite'):
    resuming.claim(tmp_path / 'run.json', {}, outputs, False)


@pytest.mark.parametrize('old', [None, {'k': 15}, {'k': 21}])
def test_overwriting_removes_the_outputs_and_nothing_else(tmp_path, old):
  record = tmp_path / 'run.json'
  if old is not None:
    files.write_json(record, old)
  outputs = make(tmp_path, 'a.png', 'b.png')
  make(tmp_path, 'notes.txt')
  assert resuming.claim(record, {'k': 21}, outputs, True) is False
  assert sorted(path.name for path in tmp_path.iterdir()) == ['notes.txt', 'run.json']
  assert files.read_json(record) == {'k': 21}


def test_a_run_killed_while_overwriting_does_not_pass_old_outputs_off_as_new(tmp_path, monkeypatch):
  record = tmp_path / 'run.json'
  resuming.claim(record, {'k': 15}, [], False)
  outputs = make(tmp_path, 'a.png', 'b.png')
  monkeypatch.setattr(type(outputs[0]), 'unlink', interrupted_after(1, type(outputs[0]).unlink))
  with pytest.raises(KeyboardInterrupt):
    resuming.claim(record, {'k': 21}, outputs, True)
  monkeypatch.undo()
  assert outputs[0].exists()
  with pytest.raises(ValueError, match='not known how'):
    resuming.claim(record, {'k': 21}, outputs, False)


def interrupted_after(count, function):
  calls = []

  def wrapped(*arguments, **keywords):
    calls.append(arguments)
    if len(calls) > count:
      raise KeyboardInterrupt
    return function(*arguments, **keywords)
  return wrapped
