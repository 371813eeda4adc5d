"""Makes a file of named arrays, .safetensors or .npz, of PyTorch's .pth; nothing is unpickled.

  python pyscripts/data/convert_weights.py dino_deitsmall8_300ep_pretrain.pth dino_vits8.safetensors

Of a training checkpoint it takes the entry `teacher`, `state_dict` or `model`, or that of --key. A
file that holds anything else than tensors is refused.
"""

import argparse
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from utils.command_line import run  # noqa: E402
from utils.files import replacing  # noqa: E402
from utils.named_arrays import write_safetensors  # noqa: E402
from utils.torch_files import open_torch  # noqa: E402


def main(arguments=None):
  """Parses the command line (or `arguments`), converts, and returns the exit status."""
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False)
  parser.add_argument('source', help='the .pth file')
  parser.add_argument('target', help='the file to be made, .safetensors or .npz')
  parser.add_argument('--key', help='entry of the checkpoint with the weights; default: see above')
  args = parser.parse_args(arguments)
  if not args.target.endswith(('.safetensors', '.npz')):
    parser.error(f'{args.target}: its ending must be .safetensors or .npz')
  shapes, read = open_torch(args.source, args.key)
  arrays = {name: read(name) for name in shapes}
  if args.target.endswith('.npz'):
    with replacing(args.target) as file:
      np.savez(file, **arrays)
  else:
    write_safetensors(args.target, arrays)
  count = sum(value.size for value in arrays.values())
  print(f'{args.target}: {len(arrays)} arrays, {count} values')
  return 0


if __name__ == '__main__':
  run(main)
