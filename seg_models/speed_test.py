import numpy as np
import pytest

from seg_models import speed, speed_inference


@pytest.mark.parametrize('build', [
    speed.supervised_loss, speed.unsupervised_loss, speed.clusters_of_image,
    speed.neighbours(1000)])
def test_both_ways_do_the_same_work(build):
  work = build(0.1)
  fast, plainly = work.fast(), work.plain()
  if build is speed.clusters_of_image:
    assert np.mean(fast[0] == plainly) > 0.999
  else:
    for a, b in zip(fast, plainly, strict=True):  # a loss and its gradient, or neighbours
      np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max())


@pytest.mark.parametrize('module, build', [
    (speed, speed.supervised_loss), (speed, speed.clusters_of_image),
    (speed_inference, speed_inference.inference_head)])
def test_the_bare_work_is_not_prepared_before_the_others_memory_is_measured(
    monkeypatch, module, build):
  """What an earlier call leaves is used again, and would not be counted."""
  calls, work_of_kmeans = [], module.work_of_kmeans

  def counted(*image):
    calls.append(image)
    return work_of_kmeans(*image)

  monkeypatch.setattr(module, 'work_of_kmeans', counted)
  work = build(0.05)
  assert not calls
  work.bare()
  prepared = len(calls)
  work.bare()
  assert prepared == len(calls) > 0


def test_drawn_embeddings_cluster_by_class():
  embedding, labels, _ = speed.embedding_maps(np.random.default_rng(0), 2, 20, 30)
  pixels = speed.unit(embedding.reshape(-1, speed.DIM))
  nearest = (pixels @ speed.class_directions().T).argmax(axis=1)
  assert np.mean(nearest == labels.ravel()) > 0.9
