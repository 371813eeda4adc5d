"""No head: the trunk's own features as the embedding, for baselines without any training."""


def features(trunk, scope, config, options):
  """Returns the trunk's last features; arguments and result as `pspnet.pspnet`'s."""
  del scope, config, options
  return trunk['output']
