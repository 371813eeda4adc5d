import numpy as np
import pytest
import tensorflow as tf

from utils.pending_steps import NonFiniteError, PendingSteps, fetch


def metrics(loss=1.0, gradient_norm=2.0, **others):
  values = {'loss': loss, 'gradient_norm': gradient_norm, **others}
  return {name: tf.constant(value, tf.float32) for name, value in values.items()}


def queue(*steps):
  pending = PendingSteps(lambda batches: f'Images: {batches}.')
  for index, step in enumerate(steps):
    pending.add(index, f'batch{index}', step)
  return pending


def test_numbers_come_together_and_in_their_places():
  values = fetch(metrics(loss=0.1, loss_scale=4.0))
  assert list(values) == ['loss', 'gradient_norm', 'loss_scale']
  assert values == {'loss': np.float32(0.1), 'gradient_norm': 2.0, 'loss_scale': 4.0}


def test_the_last_ones_are_left_to_the_device():
  pending = queue(metrics(1.0), metrics(2.0), metrics(3.0))
  assert pending.collect(ahead=1)['loss'] == 2.0
  assert pending.collect(ahead=1) == {}
  assert pending.collect()['loss'] == 3.0


@pytest.mark.parametrize('values, wrong', [
    ({'loss': np.nan}, 'loss not finite'),
    ({'gradient_norm': np.inf}, 'gradient_norm not finite'),
    ({'loss': np.inf, 'gradient_norm': np.nan}, 'loss and gradient_norm not finite'),
    ({'loss': np.nan, 'loss_scale': 2.0}, 'loss not finite'),
    ({'loss_scale': 2.0 ** -15}, 'at any loss scale')])
def test_the_step_that_is_not_finite_is_named_although_others_follow(values, wrong):
  pending = queue(metrics(), metrics(**values), metrics())
  with pytest.raises(NonFiniteError, match=f'step 1: .*{wrong}.*Images: batch1'):
    pending.collect()


def test_an_overflow_that_the_loss_scale_takes_care_of_is_none():
  pending = queue(metrics(gradient_norm=np.inf, loss_scale=4.0))
  assert pending.collect()['gradient_norm'] == np.inf
