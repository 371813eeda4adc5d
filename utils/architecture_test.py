"""The rules between the rooms: imports go one way, and every module has its test beside it."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# pyscripts -> seg_models -> network, and utils from pyscripts and seg_models only.
ALLOWED = {
    'network': {'network'},
    'utils': {'utils'},
    'seg_models': {'seg_models', 'network', 'utils'},
    'pyscripts': {'pyscripts', 'seg_models', 'network', 'utils'},
}
# The packages that the project is made of, and the optional ones of requirements-*.txt.
PACKAGES = {
    'tensorflow', 'keras', 'numpy', 'scipy', 'cv2', 'PIL', 'tqdm', 'h5py', 'higra', 'pytest',
    'pydensecrf'}


def modules(room):
  return sorted(path for path in (ROOT / room).rglob('*.py'))


def imported(path):
  """Top-level names of the packages that a file imports."""
  for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
    if isinstance(node, ast.Import):
      yield from (alias.name.split('.')[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level == 0:
      yield node.module.split('.')[0]


@pytest.mark.parametrize('room', ALLOWED)
def test_imports_go_one_way(room):
  wrong = []
  for path in modules(room):
    allowed = set(ALLOWED[room])
    if path.name.endswith('_test.py'):
      allowed.add('utils')  # a test may look for shared data
    for name in imported(path):
      if name in ALLOWED and name not in allowed:
        wrong.append(f'{path.relative_to(ROOT)} imports {name}')
  assert not wrong


def test_only_the_agreed_packages_are_used():
  import sys

  wrong = []
  for room in ALLOWED:
    siblings = {path.stem for path in modules(room)}
    for path in modules(room):
      for name in imported(path):
        known = name in ALLOWED or name in PACKAGES or name in sys.stdlib_module_names
        if not known and name not in siblings:
          wrong.append(f'{path.relative_to(ROOT)} imports {name}')
  assert not wrong


@pytest.mark.parametrize('room', ['network', 'seg_models', 'utils'])
def test_every_module_has_its_test(room):
  lonely = [
      str(path.relative_to(ROOT)) for path in modules(room)
      if path.name != '__init__.py' and not path.name.endswith('_test.py')
      and not path.with_name(f'{path.stem}_test.py').exists()]
  assert not lonely


@pytest.mark.parametrize('room', ['network', 'seg_models', 'utils'])
def test_modules_have_one_concern(room):
  long = [
      f'{path.relative_to(ROOT)}: {count} lines' for path in modules(room)
      if not path.name.endswith('_test.py')
      and (count := len(path.read_text(encoding='utf-8').splitlines())) > 300]
  assert not long


def test_scripts_are_thin():
  thick = [
      f'{path.relative_to(ROOT)}: {count} lines' for path in modules('pyscripts')
      if not path.name.endswith('_test.py')
      and (count := len(path.read_text(encoding='utf-8').splitlines())) > 120]
  assert not thick


def test_network_neither_prints_nor_reads_files():
  wrong = []
  for path in modules('network'):
    if path.name.endswith('_test.py'):
      continue
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
      if isinstance(node, ast.Call) and getattr(node.func, 'id', '') in ('print', 'open', 'input'):
        wrong.append(f'{path.relative_to(ROOT)}:{node.lineno}')
  assert not wrong
