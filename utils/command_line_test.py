import pathlib
import subprocess
import sys

import pytest

from utils.command_line import run


def _raising(error):
  def main():
    raise error
  return main


def test_status_is_passed_on():
  with pytest.raises(SystemExit) as exit:
    run(lambda: 3)
  assert exit.value.code == 3


def test_user_errors_are_messages(capsys, monkeypatch):
  monkeypatch.delenv('SEGSORT_TRACEBACK', raising=False)
  with pytest.raises(SystemExit) as exit:
    run(_raising(ValueError('mask.png: wrong')))
  with pytest.raises(SystemExit):
    run(_raising(ImportError('pip install higra')))
  assert exit.value.code == 2
  printed = capsys.readouterr().err
  assert 'error: mask.png: wrong' in printed and 'error: pip install higra' in printed


def test_tracebacks_on_request_and_for_defects(monkeypatch):
  monkeypatch.setenv('SEGSORT_TRACEBACK', '1')
  with pytest.raises(ValueError):
    run(_raising(ValueError()))
  with pytest.raises(TypeError):
    run(_raising(TypeError()))


def test_ctrl_c_has_the_shells_status(capsys):
  with pytest.raises(SystemExit) as exit:
    run(_raising(KeyboardInterrupt()))
  assert exit.value.code == 130


def test_an_error_may_have_its_own_status_and_leaves_at_once():
  code = '''
import atexit
from utils.command_line import run
class Lost(ConnectionError):
  status = 75
def main():
  atexit.register(print, 'a farewell that would wait')
  print('said before', end='')
  raise Lost('a worker was lost')
run(main)'''
  root = pathlib.Path(__file__).resolve().parents[1]
  result = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True,
                          timeout=60, check=False)
  assert (result.returncode, result.stdout) == (75, 'said before')
  assert 'error: a worker was lost' in result.stderr
