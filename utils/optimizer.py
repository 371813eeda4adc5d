"""Momentum SGD in the form of TensorFlow 1 with the original's weight decay, and PyTorch's Adam."""

import numpy as np
import tensorflow as tf


def polynomial_decay(base, step, num_steps, power):
  """Learning rate `base * (1 - step / num_steps) ** power` of the 0-based step."""
  return base * (1.0 - step / num_steps) ** power


def is_kernel(name):
  """Whether weight decay is for a variable: by its name, the original's or a Keras layer's."""
  return 'weights' in name or name.endswith('/kernel')


class MomentumSGD:
  """v = momentum * v + g; w = w - rate * v, where g includes the gradient of the L2 penalty.

  Keras' SGD folds the learning rate into its velocity, which differs as soon as the rate changes;
  Keras' L2(x) is x * sum(w^2), twice TF-Slim's.

  Args:
    variables: name -> trainable variable, the names being the original's.
    momentum: in [0, 1).
    weight_decay: the penalty is weight_decay * sum(w^2) / 2 over kernels (`is_kernel`); batch norm
      and biases have none.
    rate_multipliers: name -> factor of the learning rate (the original's head: 10).

  Create it under the distribution strategy's scope; `apply` is called across replicas.
  """

  def __init__(self, variables, *, momentum, weight_decay, rate_multipliers):
    self.variables = dict(variables)
    self.momentum = momentum
    self.weight_decay = weight_decay
    self.rate_multipliers = {name: float(rate_multipliers[name]) for name in self.variables}
    self.velocities = {
        name: tf.Variable(tf.zeros(variable.shape, tf.float32), trainable=False)
        for name, variable in self.variables.items()}

  def slots(self):
    """The optimizer's state by its name in a TF1 checkpoint: `<variable>/Momentum`."""
    return {f'{name}/Momentum': velocity for name, velocity in self.velocities.items()}

  def apply(self, gradients, learning_rate, strategy):
    """Updates every variable in place.

    Args:
      gradients: name -> float32 gradient, already summed over replicas.
      learning_rate: float32 scalar tensor, of this step and without multipliers.
      strategy: the `tf.distribute.Strategy` under whose scope the variables were made.
    """
    def update(weight, gradient, velocity, decay, multiplier, rate):
      if decay:
        gradient += decay * weight
      new = velocity.assign(self.momentum * velocity + gradient)
      weight.assign_sub(multiplier * rate * new)

    for name, variable in self.variables.items():
      decay = self.weight_decay if is_kernel(name) else 0.0
      strategy.extended.update(
          tf_variable(variable), update,
          args=(gradients[name], self.velocities[name], decay, self.rate_multipliers[name],
                learning_rate))


class Adam:
  """w = w - rate * m' / (sqrt(v') + 1e-8), m' and v' being the moments with their bias corrected.

  Keras' Adam adds its epsilon (1e-7) before the bias is corrected, which differs most in the first
  steps. Betas are 0.9 and 0.999. Source: Kingma and Ba, ICLR 2015, algorithm 1.

  Args:
    variables: name -> trainable variable.
    weight_decay: the gradient of weight_decay * sum(w^2) / 2 is added to that of kernels
      (`is_kernel`) before the moments, as in PyTorch's Adam.
    rate_multipliers: name -> factor of the learning rate.

  Create it under the distribution strategy's scope; `apply` is called across replicas.
  """
  BETAS = 0.9, 0.999
  EPSILON = 1e-8

  def __init__(self, variables, *, weight_decay, rate_multipliers):
    self.variables = dict(variables)
    self.weight_decay = weight_decay
    self.rate_multipliers = {name: float(rate_multipliers[name]) for name in self.variables}
    self.moments = {
        name: tuple(tf.Variable(tf.zeros(variable.shape, tf.float32), trainable=False)
                    for _ in self.BETAS)
        for name, variable in self.variables.items()}
    # Updates that were applied: those that a loss scale skips do not count.
    self.updates = tf.Variable(0, trainable=False, dtype=tf.int32)

  def slots(self):
    """The optimizer's state: `<variable>/Adam`, `<variable>/Adam_1` as in TF1, `adam/updates`."""
    slots = {'adam/updates': self.updates}
    for name, (mean, square) in self.moments.items():
      slots.update({f'{name}/Adam': mean, f'{name}/Adam_1': square})
    return slots

  def apply(self, gradients, learning_rate, strategy):
    """Updates every variable in place; see `MomentumSGD.apply`."""
    self.updates.assign_add(1)
    count = tf.cast(self.updates, tf.float32)
    # 1 - beta ** count in float32 would have an error of 1e-5 in the first steps.
    corrections = [-tf.math.expm1(count * np.float32(np.log(beta))) for beta in self.BETAS]

    def update(weight, gradient, mean, square, decay, rate, corrections):
      if decay:
        gradient += decay * weight
      (beta1, beta2), (correct1, correct2) = self.BETAS, corrections
      mean = mean.assign(beta1 * mean + (1 - beta1) * gradient)
      square = square.assign(beta2 * square + (1 - beta2) * gradient ** 2)
      scale = tf.sqrt(square / correct2) + self.EPSILON
      weight.assign_sub(rate * (mean / correct1) / scale)

    for name, variable in self.variables.items():
      decay = self.weight_decay if is_kernel(name) else 0.0
      strategy.extended.update(
          tf_variable(variable), update,
          args=(gradients[name], *self.moments[name], decay,
                self.rate_multipliers[name] * learning_rate, corrections))


def make_optimizer(config, variables, rate_multipliers):
  """The optimizer that a `TrainingConfig` names, over `variables`, name -> trainable variable."""
  common = {'weight_decay': config.weight_decay, 'rate_multipliers': rate_multipliers}
  if config.optimizer == 'momentum':
    return MomentumSGD(variables, momentum=config.momentum, **common)
  if config.optimizer == 'adam':
    return Adam(variables, **common)
  raise ValueError(f'--optimizer {config.optimizer}: momentum or adam')


def tf_variable(variable):
  """The tf.Variable (possibly mirrored) that a Keras variable wraps."""
  return getattr(variable, 'value', variable) if not isinstance(variable, tf.Variable) else variable
