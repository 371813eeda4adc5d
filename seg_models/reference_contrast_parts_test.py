import numpy as np
import pytest
import tensorflow as tf

from network.contrast import memory
from seg_models.reference_contrast_parts import compare_projection, compare_queues

CLASSES, DIM = 4, 3


def queues(size=30, stride=8, height=6, steps=3, seed=0):
  """A case whose segment queue is written by the original's rule for classes above 0."""
  random = np.random.default_rng(seed)
  noise = random.normal(size=[2, CLASSES, size, DIM]).astype(np.float32)
  values = {'seg_q0': noise[0], 'pix_q0': noise[1], 'stride': np.array(stride), 'M': np.array(size),
            'freq': np.array(5), 'steps': np.array(steps)}
  expected, pointers = noise[0].copy(), np.zeros(CLASSES, int)
  for step in range(steps):
    keys = random.normal(size=[2, DIM, height, 5]).astype(np.float32)
    labels = random.integers(-1, CLASSES, [2, 6, 5]).repeat(8, 1).repeat(8, 2)
    values.update({f'keys{step}': keys, f'labels{step}': labels})
    for image in range(2):
      small = labels[image, ::8, ::8]
      for label in range(1, CLASSES):
        if (small == label).any():
          mean = keys[image, :, :6][:, small == label].mean(axis=1)
          expected[label, pointers[label]] = mean / np.linalg.norm(mean)
          pointers[label] = (pointers[label] + 1) % size
  values.update({'seg_q1': expected, 'pix_q1': noise[1], 'seg_ptr1': pointers,
                 'pix_ptr1': pointers})
  return values


@pytest.mark.parametrize('size', [30, 5, 4])
def test_segment_queues_of_any_size(size):
  comparisons, not_compared = compare_queues(queues(size))
  assert [entry.name for entry in comparisons] == ['seg_q1', 'seg_ptr1', 'pixels_of_their_class']
  assert all(entry.ok for entry in comparisons), comparisons
  assert set(not_compared) == {'pix_q1', 'pix_ptr1'}


def test_labels_of_another_size_are_not_compared():
  comparisons, not_compared = compare_queues(queues(height=12))
  assert [entry.name for entry in comparisons] == ['pixels_of_their_class'] and comparisons[0].ok
  assert set(not_compared) == {'seg_q1', 'seg_ptr1', 'pix_q1', 'pix_ptr1'}


def test_class_0_is_not_compared_and_a_fault_is_found():
  values = queues()
  values['seg_q1'][0] += 1
  assert all(entry.ok for entry in compare_queues(values)[0])
  values['seg_q1'][1, 0] += 1e-3
  values['seg_ptr1'][2] += 1
  assert [entry.ok for entry in compare_queues(values)[0]] == [False, False, True]


def test_pixels_of_other_classes_are_found(monkeypatch):
  """The original's fault: pixels at places below the number of the class's pixels."""
  right = memory.pixel_rows

  def wrong(embedding, labels, num_classes, count, seed=None):
    rows, valid = right(embedding, labels, num_classes, count, seed)
    others, _ = right(embedding, tf.random.shuffle(labels, seed=0), num_classes, count)
    return others, valid
  monkeypatch.setattr(memory, 'pixel_rows', wrong)
  pixels = compare_queues(queues())[0][-1]
  assert pixels.error > 10 and not pixels.ok


def test_missing_pixels_are_found(monkeypatch):
  right = memory.enqueue
  monkeypatch.setattr(memory, 'enqueue', lambda queue, features, valid: right(
      queue, features, valid)._replace(filled=queue.filled))
  assert not compare_queues(queues())[0][-1].ok


def test_a_linear_head():
  random = np.random.default_rng(0)
  x = random.normal(size=[2, 4, 3, 5])
  weight, bias = random.normal(size=[DIM, 4, 1, 1]), random.normal(size=DIM)
  y = np.einsum('oc,bchw->bohw', weight[:, :, 0, 0], x) + bias[:, np.newaxis, np.newaxis]
  y /= np.linalg.norm(y, axis=1, keepdims=True)
  values = {'x': x, 'y_train': y, 'y_eval': y, 'y_other': y, 'proj_weight': weight,
            'proj_bias': bias}
  comparisons, not_compared = compare_projection(values)
  assert [(entry.name, entry.ok) for entry in comparisons] == [('y_train', True), ('y_eval', True)]
  assert list(not_compared) == ['y_other']
  wrong = compare_projection({**values, 'proj_bias': bias + 0.01})[0]
  assert not any(entry.ok for entry in wrong)
