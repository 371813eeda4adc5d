"""HRNet: one exchange against NumPy, sizes, what is rescaled, that cells stay where they are."""

import keras
import numpy as np
import pytest

from network.common import hrnet
from network.common.layers import LayerOptions
from network.common.preprocessing import MEAN_RGB

EPSILON = LayerOptions().epsilon


def scramble(model):
  """Gives statistics and offsets values that a wrong network would not be blind to."""
  random = np.random.default_rng(1)
  for variable in model.variables:
    if variable.path.endswith(('gamma', 'moving_variance')):
      variable.assign(random.uniform(0.5, 1.5, variable.shape))
    elif variable.path.endswith(('beta', 'moving_mean')):
      variable.assign(random.normal(size=variable.shape) * 0.2)


def values(model):
  return {variable.path: variable.numpy().astype(np.float64) for variable in model.variables}


def conv(x, arrays, name, stride=1):
  """Convolution with a padding of half the kernel on each side, then batch norm, in float64."""
  kernel = arrays[f'{name}/kernel']
  size = len(kernel)
  pad = size // 2
  x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
  rows, columns = ((length - size) // stride + 1 for length in x.shape[1:3])
  out = np.zeros((len(x), rows, columns, kernel.shape[-1]))
  for row in range(rows):
    for column in range(columns):
      patch = x[:, row * stride:row * stride + size, column * stride:column * stride + size]
      out[:, row, column] = np.einsum('bhwi,hwio->bo', patch, kernel)
  norm = {part: arrays[f'{name}.BatchNorm/{part}']
          for part in ('gamma', 'beta', 'moving_mean', 'moving_variance')}
  scale = norm['gamma'] / np.sqrt(norm['moving_variance'] + EPSILON)
  return (out - norm['moving_mean']) * scale + norm['beta']


def enlarged(x, factor, size):
  """Cell i on cell factor * i, straight lines between, the last cell's value beyond."""
  def lengthen(x, axis, length):
    places = np.minimum(np.arange(length) / factor, x.shape[axis] - 1)
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, x.shape[axis] - 1)
    share = (places - before).reshape([-1] + [1] * (x.ndim - axis - 1))
    return np.take(x, before, axis) * (1 - share) + np.take(x, after, axis) * share
  return lengthen(lengthen(x, 1, size[0]), 2, size[1])


def oracle_exchange(branches, arrays, name):
  """The equations of the paper, figure 3: every branch to every branch, summed, ReLU."""
  sums = []
  for target, own in enumerate(branches, start=1):
    total = own.copy()
    for source, x in enumerate(branches, start=1):
      place = f'{name}.fuse_{source}_to_{target}'
      if source > target:
        total += enlarged(conv(x, arrays, place), 2 ** (source - target), own.shape[1:3])
      if source < target:
        for step in range(1, target - source + 1):
          x = conv(x, arrays, f'{place}.conv{step}', stride=2)
          if step < target - source:
            x = np.maximum(x, 0)
        total += x
    sums.append(np.maximum(total, 0))
  return sums


@pytest.mark.parametrize('sizes', [[(8, 12), (4, 6), (2, 3)], [(7, 9), (4, 5), (2, 3)]])
def test_an_exchange_is_the_papers(sizes):
  channels = (3, 5, 6)
  inputs = [keras.Input([None, None, count]) for count in channels]
  model = keras.Model(inputs, hrnet.exchange(inputs, 'm', LayerOptions()))
  scramble(model)
  random = np.random.default_rng(0)
  branches = [random.normal(size=(2, *size, count))
              for size, count in zip(sizes, channels, strict=True)]
  expected = oracle_exchange(branches, values(model), 'm')
  result = model([branch.astype(np.float32) for branch in branches], training=False)
  for mine, theirs in zip(result, expected, strict=True):
    assert theirs.std() > 0.1
    np.testing.assert_allclose(mine, theirs, atol=1e-4)


def test_a_transition_keeps_what_fits_and_adds_a_branch_from_the_coarsest():
  inputs = [keras.Input([None, None, count]) for count in (3, 6)]
  kept = hrnet.transition(inputs, (3, 6, 12), 't', LayerOptions())
  assert kept[0] is inputs[0] and kept[1] is inputs[1]
  model = keras.Model(inputs, kept[2])
  scramble(model)
  random = np.random.default_rng(0)
  fine, coarse = random.normal(size=(1, 9, 7, 3)), random.normal(size=(1, 5, 4, 6))
  np.testing.assert_allclose(
      model([fine.astype(np.float32), coarse.astype(np.float32)], training=False),
      np.maximum(conv(coarse, values(model), 't.branch_3', stride=2), 0), atol=1e-5)
  changed = hrnet.transition([inputs[0]], (4, 8), 't', LayerOptions())
  assert [x.shape[-1] for x in changed] == [4, 8]


@pytest.fixture(scope='module')
def model():
  """A network of one module and one unit wherever the published ones have more."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(hrnet, '_MODULES', dict.fromkeys((2, 3, 4), 1))
    patch.setattr(hrnet, '_UNITS', 1)
    images = keras.Input([None, None, 3])
    made = keras.Model(
        images, hrnet.hrnet(images, 'net', (2, 4, 8, 16), LayerOptions(), width=1 / 16))
  scramble(made)
  return made


def image(*size):
  return np.random.default_rng(0).normal(size=(1, *size, 3)).astype(np.float32) * 50


def test_any_size_gives_its_ceiling(model):
  for size in ((32, 64), (33, 47), (9, 70), (1, 7)):
    features = model(image(*size), training=False)
    cells = (1, -(-size[0] // 4), -(-size[1] // 4))
    assert features['output'].shape == (*cells, 30)
    assert features['low_level'].shape == (*cells, 16)
    assert features['auxiliary'] is features['output']


def test_input_is_rescaled_to_what_the_weights_were_trained_with(model):
  rescaling = next(layer for layer in model.layers if isinstance(layer, keras.layers.Rescaling))
  colours = np.array([[[[255 * 0.485, 255 * 0.456, 255 * 0.406], [0, 0, 0], [255, 255, 255]]]])
  np.testing.assert_allclose(
      rescaling((colours - np.array(MEAN_RGB)).astype(np.float32))[0, 0],
      [[0, 0, 0], [-2.1179, -2.0357, -1.8044], [2.2489, 2.4286, 2.64]], atol=1e-4)


def test_a_larger_frame_moves_no_cell(model):
  """Where the sizes are 32 n + 1 and 32 n + 9, cells far from the border are the same ones."""
  x = image(201, 201)
  smaller = model(x[:, :193, :193], training=False)['output'].numpy()
  larger = model(x, training=False)['output'].numpy()[:, :49, :49]
  scale = np.abs(larger).max()
  assert scale > 0.1
  np.testing.assert_allclose(smaller[:, :8, :8], larger[:, :8, :8], atol=1e-5 * scale)
  assert not np.allclose(smaller[:, -1], larger[:, -1], atol=1e-3 * scale)


def test_channels_are_the_papers():
  assert hrnet.branch_channels('hrnet_w48') == (48, 96, 192, 384)
  assert [hrnet.output_channels(name) for name in hrnet.CHANNELS] == [270, 480, 720]
  assert hrnet.branch_channels('hrnet_w18', 0.25) == (4, 9, 18, 36)
