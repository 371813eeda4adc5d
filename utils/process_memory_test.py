import numpy as np

from utils import process_memory


def test_what_is_taken_and_given_back_shows_in_the_peak_alone():
  process_memory.reset_peak()
  before = process_memory.resident_mb()
  assert process_memory.peak_mb() >= before > 10
  block = np.ones(10**7)  # 80 MB
  assert process_memory.resident_mb() > before + 70
  del block
  assert process_memory.resident_mb() < before + 10
  assert process_memory.peak_mb() > before + 70
  process_memory.reset_peak()
  assert process_memory.peak_mb() < before + 10
