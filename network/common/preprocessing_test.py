import pathlib
import subprocess
import sys

import numpy as np
import pytest

from network.common.preprocessing import MEAN_RGB

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_the_mean_is_the_originals():
  np.testing.assert_array_equal(MEAN_RGB, np.float32([122.675, 116.669, 104.008]))
  with pytest.raises(ValueError, match='read-only'):
    MEAN_RGB[0] = 0


def test_tools_for_files_do_not_wait_for_tensorflow():
  """The reader of images takes the mean from here; loading TensorFlow takes seconds."""
  code = ("import sys, network.common.preprocessing, seg_models.image_reader\n"
          "assert 'tensorflow' not in sys.modules")
  subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)
