"""One folder of results, filled by one process or by several with a part of the list each."""

import dataclasses

from utils.cluster import TASK_HELP, WORKERS_HELP, find_share
from utils.configuration import option


@dataclasses.dataclass(frozen=True)
class ShareConfig:
  """Where results go, and who works on them; an interrupted command goes on where it was.

  Raises:
    ValueError: flags are out of range, contradict each other or would do harm.
  """
  save_dir: str = option('', 'folder of the results', flags=('save-dir',))
  overwrite: bool = option(
      False, 'remove the results of an earlier run in --save_dir first, of an unfinished one too')
  shard: str = option(
      '', 'I/N: do the I-th of N parts of the list, counted from 0, in a --save_dir that all parts '
      'share; whoever finds all images done joins the bank or ends the work, and the same command '
      'without --shard does what is left')
  workers: str = option('', f'{WORKERS_HELP}. With --task I the same as --shard I/N')
  task: int | None = option(None, TASK_HELP)
  num_gpu: int = option(
      1, 'processes on this machine, each with a GPU of its own and a part of the list; without '
      'GPUs they share the CPU')

  def __post_init__(self):
    if self.num_gpu < 1:
      raise ValueError(f'--num_gpu {self.num_gpu}: must be at least 1')
    if self.overwrite and self.is_shared:
      raise ValueError('--overwrite would remove what the other parts of a shared --save_dir have '
                       'written: remove that folder first, or name another')

  @property
  def share(self):
    """(i, n): this process does every n-th image of the list from the i-th on."""
    return find_share(self.shard, self.workers, self.task)

  @property
  def is_shared(self):
    """Whether several processes work on the list."""
    return self.num_gpu > 1 or self.share[1] > 1


def left_message(folder, config):
  """What to say where other processes have not done their parts yet.

  Args:
    folder: `PredictionFolder` or its like, with `mine`, a list, and `left()`, which gives one.
    config: `ShareConfig`.
  """
  index, count = config.share
  return (f'part {index} of {count} ({len(folder.mine)} images) is done; {len(folder.left())} '
          'images are left to others, the last of whom ends the work; the same command with '
          '--shard 0/1 does them here')
