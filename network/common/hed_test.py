import numpy as np
import pytest

from network.common import hed

WIDTH = 1 / 16
BLOCKS = [(4, 2), (8, 2), (16, 3), (32, 3), (32, 3)]
OFFSETS = [34, 35, 36, 38, 42]  # of Crop, as Caffe derives them from the published prototxt


def random_arrays(seed=0, biases=True):
  """Arrays as Caffe keeps them, of the network of a sixteenth of the channels."""
  random = np.random.default_rng(seed)
  arrays = {}

  def add(name, outputs, inputs, size):
    scale = np.sqrt(2 / (inputs * size * size))
    arrays[f'{name}/weights'] = random.normal(
        scale=scale, size=(outputs, inputs, size, size)).astype(np.float32)
    arrays[f'{name}/biases'] = random.normal(
        scale=0.1 * biases, size=outputs).astype(np.float32)
  inputs = 3
  for block, (channels, count) in enumerate(BLOCKS, start=1):
    for index in range(1, count + 1):
      add(f'conv{block}_{index}', channels, inputs, 3)
      inputs = channels
    add(f'score-dsn{block}', 1, inputs, 1)
    if block > 1:  # no bilinear kernel: what the file has counts
      add(f'upsample_{2 ** (block - 1)}', 1, 1, 2 ** block)
  add('new-score-weighting', 1, 5, 1)
  return arrays


def bilinear(size):
  ramp = [1 - abs(index - (size - 1) / 2) / (size / 2) for index in range(size)]
  return np.outer(ramp, ramp)[np.newaxis, np.newaxis].astype(np.float32)


def published_form(arrays):
  """With the published file's bilinear kernels."""
  ours = dict(arrays)
  for stride in (2, 4, 8, 16):
    ours[f'upsample_{stride}/weights'] = bilinear(2 * stride)
    ours[f'upsample_{stride}/biases'] = np.zeros(1, np.float32)
  return ours


def naive(arrays, image):
  """Caffe's layers one after the other, [C, H, W]; logits and the outputs of the sides."""
  def conv(x, name, pad):
    weights, biases = arrays[f'{name}/weights'], arrays[f'{name}/biases']
    size = weights.shape[-1]
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
    out = np.zeros((len(weights), height, width)) + biases[:, np.newaxis, np.newaxis]
    for row in range(size):
      for column in range(size):
        out += np.einsum('oi,ihw->ohw', weights[:, :, row, column],
                         x[:, row:row + height, column:column + width])
    return out

  def pool(x):
    height, width = x.shape[1:]
    return np.array([
        [[channel[row:row + 2, column:column + 2].max() for column in range(0, width, 2)]
         for row in range(0, height, 2)] for channel in x])

  def deconv(x, name, stride):
    kernel = arrays[f'{name}/weights'][0, 0]
    _, height, width = x.shape
    out = np.zeros((1, (height - 1) * stride + len(kernel), (width - 1) * stride + len(kernel)))
    for row in range(height):
      for column in range(width):
        out[0, row * stride:row * stride + len(kernel),
            column * stride:column * stride + len(kernel)] += x[0, row, column] * kernel
    return out + arrays[f'{name}/biases'][0]

  x = image.transpose(2, 0, 1).astype(np.float64)
  height, width = image.shape[:2]
  sides = []
  for block, (_, count) in enumerate(BLOCKS, start=1):
    if block > 1:
      x = pool(x)
    for index in range(1, count + 1):
      first = block == index == 1
      x = np.maximum(conv(x, f'conv{block}_{index}', 35 if first else 1), 0)
    side = conv(x, f'score-dsn{block}', 0)
    if block > 1:
      side = deconv(side, f'upsample_{2 ** (block - 1)}', 2 ** (block - 1))
    offset = OFFSETS[block - 1]
    sides.append(side[0, offset:offset + height, offset:offset + width])
  return conv(np.stack(sides), 'new-score-weighting', 0)[0]


@pytest.fixture(scope='module')
def model():
  return hed.hed(WIDTH)


def logits(model, images):
  """The network's output before the sigmoid, in float64 where it is not saturated."""
  output = np.asarray(model(images, training=False), np.float64)[..., 0]
  assert (output > 0).all() and (output < 1).all()
  return np.log(output / (1 - output))


def image(height, width, seed=1):
  return np.random.default_rng(seed).uniform(-1, 1, (height, width, 3)).astype(np.float32)


@pytest.mark.parametrize('height, width', [(13, 10), (1, 1), (2, 31)])
def test_is_caffes_network(model, height, width):
  arrays = random_arrays()
  report = hed.assign(model, arrays)
  assert set(report.loaded) == set(arrays) and not report.missing and not report.skipped
  x = image(height, width)
  expected = naive(arrays, x)
  if expected.size > 1:
    assert expected.std() > 0.1  # there is something to be compared
  output = model(x[np.newaxis], training=False)
  assert output.shape == (1, height, width, 1) and output.dtype == 'float32'
  np.testing.assert_allclose(output[0, :, :, 0], 1 / (1 + np.exp(-expected)), atol=2e-5)


def test_kernels_are_bilinear_where_the_arrays_have_none():
  model = hed.hed(WIDTH)
  arrays = published_form(random_arrays())
  report = hed.assign(
      model, {name: value for name, value in arrays.items() if 'upsample' not in name})
  assert len(report.loaded) == 38
  assert set(report.missing) == {name for name in arrays if 'upsample' in name}
  x = image(9, 12)
  np.testing.assert_allclose(logits(model, x[np.newaxis])[0], naive(arrays, x), atol=1e-4)


def test_a_mirrored_image_has_mirrored_contours(model):
  """With mirrored kernels: only where every map lies symmetrically on the image.

  At these sizes the padded map is a multiple of 16, so that no pooling cell is cut at one end.
  """
  arrays = {
      name: value if value.ndim == 1 else value + value[:, :, ::-1] + value[:, :, :, ::-1]
      + value[:, :, ::-1, ::-1] for name, value in random_arrays().items()}
  arrays = published_form({
      name: value / 4 if value.ndim == 4 else value for name, value in arrays.items()})
  hed.assign(model, arrays)
  x = image(12, 28)
  one, rows, columns = logits(model, np.stack([x, x[::-1], x[:, ::-1]]))
  assert np.ptp(one) > 0.1
  np.testing.assert_allclose(rows[::-1], one, atol=1e-4)
  np.testing.assert_allclose(columns[:, ::-1], one, atol=1e-4)


@pytest.mark.parametrize('side', [1, 2, 3, 4, 5])
def test_an_impulse_answers_where_it_is(model, side):
  """A single pixel answers around the middle of its cell of stride s, and moves with it."""
  arrays = published_form(random_arrays())
  for name, value in arrays.items():
    if 'upsample' not in name:
      value[...] = 0
      if name.startswith(('conv', 'score')) and value.ndim == 4:  # the mean of the channels
        middle = value.shape[2] // 2
        value[:, :, middle, middle] = 1 / value.shape[1]
  arrays['new-score-weighting/weights'][0, side - 1] = 1
  hed.assign(model, arrays)
  stride = 2 ** (side - 1)

  def answer(row, column):
    x = np.zeros((1, 70, 75, 3), np.float32)
    x[0, row, column] = 1
    return logits(model, x)[0]
  places = np.mgrid[:70, :75]
  for place in [(25, 30), (31, 37)]:
    result = answer(*place)
    centre = [(result * axis).sum() / result.sum() for axis in places]
    # Cells are counted from the padded map's first pixel, 34 before the image's.
    middle = [(value + 34) // stride * stride + (stride - 1) / 2 - 34 for value in place]
    np.testing.assert_allclose(centre, middle, atol=1e-2)
    assert np.abs(np.subtract(centre, place)).max() <= (stride - 1) / 2 + 1e-2
    assert result.max() > 0.2
  moved = answer(25 + 16, 30 + 16)
  np.testing.assert_allclose(moved[16:, 16:], answer(25, 30)[:-16, :-16], atol=1e-5)


def test_preprocessing_is_bgr_minus_the_mean():
  images = np.array([[[255, 0, 128]]], np.uint8)
  expected = [[[128 - 104.00699, 0 - 116.66877, 255 - 122.67892]]]
  result = hed.preprocess(images)
  assert result.dtype == np.float32
  np.testing.assert_allclose(result, expected, atol=1e-4)


def test_the_published_network_has_vggs_channels():
  shapes = {variable.path: tuple(variable.shape) for variable in hed.hed().variables}
  assert shapes['conv1_1/kernel'] == (3, 3, 3, 64)
  assert shapes['conv5_3/kernel'] == (3, 3, 512, 512)
  assert shapes['score-dsn4/kernel'] == (1, 1, 512, 1)
  assert shapes['upsample_16/kernel'] == (32, 32, 1, 1)
  assert shapes['new-score-weighting/kernel'] == (1, 1, 5, 1)
  # VGG-16's convolutions, five scores, the fusion: 59 MB of floats, as the published file.
  assert sum(np.prod(shape) for name, shape in shapes.items() if 'upsample' not in name) == (
      14714688 + (64 + 128 + 256 + 512 + 512 + 5) + 6)


def test_old_files_shapes_are_taken(model):
  arrays = random_arrays()
  old = {name: value.reshape((1,) * (4 - value.ndim) + value.shape)
         for name, value in arrays.items()}
  assert len(hed.assign(model, old).loaded) == len(arrays)


def before_and_after(model, arrays, problem):
  hed.assign(model, random_arrays())
  before = [variable.numpy() for variable in model.variables]
  with pytest.raises(ValueError, match=problem):
    hed.assign(model, arrays)
  for variable, value in zip(model.variables, before, strict=True):
    np.testing.assert_array_equal(variable, value)


def test_wrong_arrays_change_nothing(model):
  arrays = random_arrays(seed=1)
  trunk = {name: value for name, value in arrays.items() if name.startswith('conv')}
  before_and_after(model, trunk, "12 of HED's 38 arrays are missing .*another network")
  narrow = dict(arrays, **{'conv3_1/weights': arrays['conv3_1/weights'][:, :4]})
  before_and_after(model, narrow, r'conv3_1/weights is \(3, 3, 8, 16\), .* there \(3, 3, 4, 16\)')
  flat = dict(arrays, **{'conv3_1/weights': arrays['conv3_1/weights'].ravel()})
  before_and_after(model, flat, r'conv3_1/weights there \(1152,\)')
  broken = dict(arrays, **{'conv3_1/biases': np.full(16, np.nan, np.float32)})
  before_and_after(model, broken, 'NaN or infinity in conv3_1/biases')
