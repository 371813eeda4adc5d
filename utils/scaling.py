"""What a synchronous data-parallel step costs on n replicas: a model, and its assumptions in words.

Every message of a step is an all-reduce. A ring over n replicas sends each of them 2 (n - 1) / n of
the bytes in 2 (n - 1) rounds, each of which takes the link's latency (Patarasuk and Yuan, 2009).
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Messages:
  """All-reduces of a kind in one step.

  Attributes:
    count: how many.
    constant_bytes: of all of them together, whatever the number of replicas (gradients, metrics).
    replica_bytes: of all of them together, for each replica: what is gathered by summing arrays
      that have a place for each (statistics of batch norm, prototypes).
  """
  count: int
  constant_bytes: float
  replica_bytes: float


@dataclasses.dataclass(frozen=True)
class Step:
  """One step of a replica, as measured.

  Attributes:
    images: of each replica.
    seconds: of a replica by itself.
    seconds_per_replica: more for each further replica, whose prototypes are compared with too.
    gradients: `Messages`, at the end of the backward pass or, in part, hidden behind it.
    others: `Messages` that the computation waits for.
  """
  images: int
  seconds: float
  seconds_per_replica: float
  gradients: Messages
  others: Messages


@dataclasses.dataclass(frozen=True)
class Link:
  """Between replicas: bytes a second each way, seconds a message, and what is hidden of gradients.

  Attributes:
    bandwidth: bytes a second.
    latency: seconds.
    overlap: share of the backward pass, which is two thirds of a step, that gradients are sent
      behind; 0 where they are sent at its end, as `utils.train_step` does.
    processors: how many replicas compute at once; None for as many as there are. Logical devices of
      one machine share its cores, on which a replica by itself computes already.
  """
  bandwidth: float
  latency: float
  overlap: float = 0.0
  processors: int | None = None

  def __post_init__(self):
    if self.bandwidth <= 0 or self.latency < 0 or not 0 <= self.overlap <= 1:
      raise ValueError(f'bandwidth {self.bandwidth}, latency {self.latency}, overlap '
                       f'{self.overlap}: expected above 0, at least 0, and 0 to 1')


@dataclasses.dataclass(frozen=True)
class Prediction:
  """Of a number of replicas; efficiency is images a second over those of perfect scaling."""
  replicas: int
  step_seconds: float
  communication_seconds: float
  images_per_second: float
  efficiency: float


def ring_seconds(replicas, messages, link):
  """Time of a step's all-reduces of one kind."""
  size = messages.constant_bytes + messages.replica_bytes * replicas
  hops = 2 * (replicas - 1)
  return hops * (size / replicas / link.bandwidth + messages.count * link.latency)


def predict(step, link, replicas):
  """`Prediction` for one number of replicas."""
  compute = step.seconds + (replicas - 1) * step.seconds_per_replica
  turns = -(-replicas // (link.processors or replicas))
  hidden = link.overlap * 2 / 3 * compute
  waiting = ring_seconds(replicas, step.others, link) + max(
      0.0, ring_seconds(replicas, step.gradients, link) - hidden)
  seconds = turns * compute + waiting
  rate = replicas * step.images / seconds
  return Prediction(
      replicas, seconds, waiting, rate, rate / (replicas * step.images / step.seconds))


def messages_from(first, second):
  """The kinds of `Messages` from the sizes that were counted with two numbers of replicas.

  Args:
    first, second: (replicas, [bytes of each message in their order]).

  Returns:
    gradients, others: `Messages`; the largest that does not grow with the replicas, and the rest.

  Raises:
    ValueError: the step does not send the same messages with both numbers.
  """
  (few, small), (many, large) = first, second
  if few == many or len(small) != len(large):
    raise ValueError(f'{len(small)} messages with {few} replicas, {len(large)} with {many}: '
                     'expected the same ones with two numbers of replicas')
  slopes = [(b - a) / (many - few) for a, b in zip(small, large, strict=True)]
  constants = [a - few * slope for a, slope in zip(small, slopes, strict=True)]
  place = max(range(len(small)), key=lambda i: (slopes[i] == 0) * constants[i])
  rest = [i for i in range(len(small)) if i != place]
  return Messages(1, constants[place], slopes[place]), Messages(
      len(rest), sum(constants[i] for i in rest), sum(slopes[i] for i in rest))


def assumptions(step, link):
  """What the model takes for granted, line by line."""
  others, gradients = step.others, step.gradients
  return [
      f'a step of {step.images} image(s) takes {step.seconds:.4g} s by itself, and '
      f'{step.seconds_per_replica:.3g} s more for each further replica, with whose prototypes '
      'pixels are compared',
      f'gradients: {gradients.constant_bytes / 1e6:.4g} MB in one message, of whose time '
      f'{link.overlap:.0%} of the backward pass (2/3 of the step) is hidden',
      f'what the computation waits for: {others.count} messages (batch norm forward and backward, '
      f'prototypes, counts), together {others.constant_bytes / 1e6:.4g} MB and '
      f'{others.replica_bytes / 1e6:.4g} MB for each replica',
      f'every message is a ring all-reduce: 2 (n - 1) / n of its bytes at '
      f'{link.bandwidth / 1e9:.4g} GB/s and 2 (n - 1) times {link.latency * 1e6:.4g} us; all links '
      'are alike, and nobody else uses them',
      'all replicas are equally fast, data is always there, and each has the same number of images '
      '(weak scaling)',
      *([] if link.processors is None else [
          f'{link.processors} replica(s) compute at once: the devices share the cores']),
  ]
