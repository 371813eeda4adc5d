import importlib
import sys

import pytest


def test_opencv_is_there():
  from utils.opencv import cv2
  assert int(cv2.__version__.split('.')[0]) >= 4


def test_a_missing_library_names_the_package_for_servers(monkeypatch):
  import utils.opencv

  monkeypatch.setitem(sys.modules, 'cv2', None)  # what makes `import cv2` fail
  with pytest.raises(ImportError, match='opencv-python-headless'):
    importlib.reload(utils.opencv)
  monkeypatch.undo()
  importlib.reload(utils.opencv)
