"""Momentum SGD in the form of TensorFlow 1, with the original's learning rates and weight decay."""

import tensorflow as tf


def polynomial_decay(base, step, num_steps, power):
  """Learning rate `base * (1 - step / num_steps) ** power` of the 0-based step."""
  return base * (1.0 - step / num_steps) ** power


class MomentumSGD:
  """v = momentum * v + g; w = w - rate * v, where g includes the gradient of the L2 penalty.

  Keras' SGD folds the learning rate into its velocity, which differs as soon as the rate changes;
  Keras' L2(x) is x * sum(w^2), twice TF-Slim's.

  Args:
    variables: name -> trainable variable, the names being the original's.
    momentum: in [0, 1).
    weight_decay: the penalty is weight_decay * sum(w^2) / 2 over kernels, the variables whose name
      contains `weights`; batch norm and biases have none.
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
      decay = self.weight_decay if 'weights' in name else 0.0
      strategy.extended.update(
          _tf_variable(variable), update,
          args=(gradients[name], self.velocities[name], decay, self.rate_multipliers[name],
                learning_rate))


def _tf_variable(variable):
  """The tf.Variable (possibly mirrored) that a Keras variable wraps."""
  return getattr(variable, 'value', variable) if not isinstance(variable, tf.Variable) else variable
