"""One training step of any method: gradients, accumulation, reduction over replicas, update.

The step is compiled once, has static shapes, and is the same code eagerly, in a graph, under XLA
and under a distribution strategy. A method is an object with

  initial_state() -> dict of arrays: what it keeps from step to step beside the model (a memory);
  loss(batch, state, step, draw) -> StepOutput, called in replica context. `step` counts updates and
    `draw` batches from 0, int32 scalars: of several batches a step each has random numbers of its
    own, which are to follow from `draw`;
  once_a_step (optional): names in the state that move with the last batch of a step alone, where
    the others move with each.
"""

from typing import NamedTuple

import tensorflow as tf

from utils.optimizer import make_optimizer, polynomial_decay, tf_variable


class StepOutput(NamedTuple):
  """What a method's loss returns, on each replica.

  loss: float32 scalar to differentiate; the replicas' losses sum to the loss of the joined batch.
  metrics: name -> (total, weight), float32 scalars; logged is sum of totals / sum of weights over
    replicas and accumulated batches, 0 where the weights are.
  state: the method's next state, the same on every replica.
  """
  loss: tf.Tensor
  metrics: dict
  state: dict


class LossScale:
  """Dynamic loss scale for float16: halved at an overflow, doubled after `patience` good steps.

  The step that overflowed changes nothing else, see `TrainStep`. Other precisions have no scale
  (`enabled=False`).
  """

  def __init__(self, enabled, initial=2.0 ** 15, patience=2000):
    self.enabled = enabled
    self.patience = patience
    if enabled:
      self.scale = tf.Variable(initial, trainable=False, dtype=tf.float32)
      self.good_steps = tf.Variable(0, trainable=False, dtype=tf.int32)

  def variables(self):
    if not self.enabled:
      return {}
    return {'loss_scale/scale': self.scale, 'loss_scale/good_steps': self.good_steps}

  def value(self):
    return tf.convert_to_tensor(self.scale) if self.enabled else tf.constant(1.0)

  def update(self, finite):
    grown = self.good_steps + 1 >= self.patience
    factor = tf.where(finite, tf.where(grown, 2.0, 1.0), 0.5)
    self.scale.assign(self.scale * factor)
    self.good_steps.assign(tf.where(finite & ~grown, self.good_steps + 1, 0))


def uses_xla(choice, num_replicas):
  """Whether XLA compiles the step: as chosen, or as suits the device.

  On CPUs XLA's convolutions are slower than oneDNN's, which TensorFlow calls without it; on GPUs
  they are the same library's, and what is around them is faster.

  Several replicas were tried with TensorFlow 2.21 on two logical CPU devices. The whole step, or
  the function that strategy.run calls, as one program: refused, for a program has one device and
  may not touch the variables of another ("Trying to access resource"). Each replica's forward and
  backward pass as a program of its own, with the sums of gradients outside: works, and gives the
  same numbers, but only where nothing is exchanged in its midst. Batch norm's statistics and the
  prototypes are: "merge_call called while defining a new graph". What needs no other replica, such
  as k-means (`network.segsort.clustering`), can be compiled by itself, and is.

  Args:
    choice: True, False, or None for the device's default: on one GPU.
    num_replicas: of the step.

  Raises:
    ValueError: compilation is asked for where it cannot be had.
  """
  if choice and num_replicas > 1:
    raise ValueError(
        '--jit_compile: a program compiled by XLA runs on one device, and the replicas of a step '
        'exchange sums in its midst (batch norm, prototypes), for which XLA has no code on CPUs '
        'and untested code on GPUs; leave it out for several replicas')
  if choice is None:
    return num_replicas == 1 and bool(tf.config.list_physical_devices('GPU'))
  return choice


class TrainStep:
  """The compiled step over a model's variables, an optimizer's and a method's.

  A step that a loss scale skips is taken back whole: weights and momenta stay as they are, and so
  do what its forward pass has moved, the method's state and batch norm's moving statistics.

  Args:
    method: see the module's docstring.
    variables: name -> Keras variable of the model, all of them.
    config: a `TrainingConfig` (utils/training.py).
    strategy: `tf.distribute.Strategy`; the model must have been built under its scope.
    rate_multipliers: name -> factor of the learning rate.
  """

  def __init__(self, method, variables, config, strategy, rate_multipliers):
    self.method = method
    self.config = config
    self.strategy = strategy
    self.variables = dict(variables)
    self.trainable = {
        name: variable for name, variable in self.variables.items() if variable.trainable}
    jit_compile = uses_xla(config.jit_compile, strategy.num_replicas_in_sync)
    with strategy.scope():
      self.optimizer = make_optimizer(config, self.trainable, rate_multipliers)
      self.state = {
          name: tf.Variable(value, trainable=False)
          for name, value in method.initial_state().items()}
      self.loss_scale = LossScale(config.precision == 'mixed_float16')
      # What a forward pass moves and, where several make a step, what that was before the first.
      self._moved, self._before = {}, {}
      if self.loss_scale.enabled:
        self._moved = {f'state/{name}': variable for name, variable in self.state.items()}
        self._moved.update({
            name: tf_variable(variable) for name, variable in self.variables.items()
            if not variable.trainable})
      self.sums = {}
      if config.iter_size > 1:
        self.sums = {
            name: tf.Variable(tf.zeros(variable.shape), trainable=False)
            for name, variable in self.trainable.items()}
        self._before = {
            name: tf.Variable(tf.zeros(variable.shape, variable.dtype), trainable=False)
            for name, variable in self._moved.items()}
    # Without AutoGraph, which takes four fifths of the time of tracing: methods say tf.while_loop
    # and tf.cond where a tensor decides.
    compile_step = tf.function(jit_compile=jit_compile or None, autograph=False)
    self._whole = compile_step(self.whole_step)
    self._accumulate = compile_step(self._accumulate_step)
    self._finish = compile_step(self._finish_step)
    self._remember = compile_step(lambda: self._assign(self._before, _values(self._moved)))

  def saved_variables(self):
    """Everything that a resumed run needs: name -> variable."""
    state = {f'state/{name}': variable for name, variable in self.state.items()}
    return {**self.variables, **self.optimizer.slots(), **state, **self.loss_scale.variables()}

  def __call__(self, batches, step):
    """Does step `step` (0-based) on `iter_size` batches.

    Of several workers each is given its own share of every batch.

    Returns:
      Metrics, name -> float32 scalar tensor, which a GPU may still be busy computing.
    """
    config = self.config
    rate = tf.constant(polynomial_decay(
        config.learning_rate, step, config.num_steps, config.power), tf.float32)
    step = tf.constant(step, tf.int32)
    if len(batches) == 1:
      return self._whole(self._split(batches[0]), step, rate)
    if self._before:
      self._remember()
    totals = None
    for place, batch in enumerate(batches):
      draw, last = step * len(batches) + place, tf.constant(place == len(batches) - 1)
      new = self._accumulate(self._split(batch), step, draw, last)
      totals = new if totals is None else tf.nest.map_structure(tf.add, totals, new)
    return self._finish(totals, rate)

  def _split(self, batch):
    """The batch, or this worker's share of it, cut into equal parts for the replicas here."""
    if self.strategy.num_replicas_in_sync == 1:
      return batch
    count = len(self.strategy.extended.worker_devices)
    parts = {name: tf.split(value, count) for name, value in batch.items()}
    return {
        name: self.strategy.experimental_distribute_values_from_function(
            lambda context, part=part: part[context.replica_id_in_sync_group % count])
        for name, part in parts.items()}

  def _gradients(self, batch, step, draw, last=None):
    """Gradients and metrics of one batch, summed over replicas; the state moves on.

    Args: of the method's loss, and bool scalar `last`: the step's last batch; None: its only one.
    """
    def on_replica(batch, state, step, draw, scale):
      with tf.GradientTape() as tape:
        output = self.method.loss(batch, state, step, draw)
        if output.loss.dtype != tf.float32:
          raise TypeError(f'{type(self.method).__name__} has a loss of {output.loss.dtype.name}: '
                          'only convolutions may be of less than float32')
        loss = output.loss * scale
      gradients = tape.gradient(
          loss, list(self.trainable.values()), unconnected_gradients=tf.UnconnectedGradients.ZERO)
      metrics = dict(output.metrics)
      count = self.strategy.num_replicas_in_sync
      metrics['loss'] = (output.loss, tf.constant(1.0 / count))
      if count > 1:
        # All at once: a message between hosts costs more by its number than by its bytes. Nothing
        # flows back, which spares TensorFlow a search through the graphs of all replicas.
        gradients, metrics = tf.distribute.get_replica_context().all_reduce(
            tf.distribute.ReduceOp.SUM,
            tf.nest.map_structure(tf.stop_gradient, (gradients, metrics)))
      gradients = [gradient / scale for gradient in gradients]
      return dict(zip(self.trainable, gradients, strict=True)), metrics, output.state

    scale = self.loss_scale.value()
    old = _values(self.state)
    gradients, metrics, state = self.strategy.run(
        on_replica, args=(batch, old, step, draw, scale))
    metrics, state = tf.nest.map_structure(self._first, (metrics, state))
    if last is not None:
      for name in getattr(self.method, 'once_a_step', ()):
        state[name] = tf.where(last, state[name], old[name])
    self._assign(self.state, state)
    return gradients, metrics

  def _assign(self, variables, values):
    """Gives variables their new values, each by its name, on every replica."""
    for name, value in values.items():
      self.strategy.extended.update(
          variables[name], lambda variable, new: variable.assign(new), args=(value,))

  def _first(self, value):
    """What the first replica here has of a value that all have."""
    return self.strategy.experimental_local_results(value)[0]

  def _update(self, totals, gradients, rate, before):
    """Moves the weights, or takes back what has moved since `before`; returns the metrics."""
    metrics = {
        name: tf.math.divide_no_nan(total, weight) for name, (total, weight) in totals.items()}
    norm = tf.linalg.global_norm([self._first(gradient) for gradient in gradients.values()])
    metrics.update(gradient_norm=norm, learning_rate=rate)
    if self.loss_scale.enabled:
      finite = tf.math.is_finite(norm)
      tf.cond(finite, lambda: self._apply(gradients, rate), lambda: self._take_back(before))
      self.loss_scale.update(finite)
      metrics['loss_scale'] = self.loss_scale.value()
    else:
      self._apply(gradients, rate)
    return metrics

  def _apply(self, gradients, rate):
    self.optimizer.apply(gradients, rate, self.strategy)
    return tf.constant(True)

  def _take_back(self, before):
    self._assign(self._moved, before)
    return tf.constant(True)

  def whole_step(self, batch, step, rate):
    """What `__call__` compiles: a step on one batch.

    Args:
      batch: as `loss` of the method takes it, on each replica.
      step: int32 scalar tensor, 0-based.
      rate: float32 scalar tensor, the learning rate.

    Returns:
      Metrics, name -> float32 scalar tensor; the variables change.
    """
    before = _values(self._moved)
    gradients, totals = self._gradients(batch, step, draw=step)
    return self._update(totals, gradients, rate, before)

  def _accumulate_step(self, batch, step, draw, last):
    gradients, metrics = self._gradients(batch, step, draw, last)
    for name, gradient in gradients.items():
      self.strategy.extended.update(
          self.sums[name], lambda total, new: total.assign_add(new), args=(gradient,))
    return metrics

  def _finish_step(self, totals, rate):
    gradients = {name: total / self.config.iter_size for name, total in self.sums.items()}
    metrics = self._update(totals, gradients, rate, _values(self._before))
    for total in self.sums.values():
      self.strategy.extended.update(total, lambda total: total.assign(tf.zeros_like(total)))
    return metrics


def _values(variables):
  """Name -> the tensor that a variable holds now."""
  return {name: tf.convert_to_tensor(variable) for name, variable in variables.items()}
