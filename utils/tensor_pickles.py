"""Pickles of PyTorch's tensors, understood without unpickling: nothing is called or imported.

Unpickling is calling what a file names, so a pickle's opcodes are gone through here instead: what a
file of tensors consists of becomes numbers, texts, lists, dicts and descriptions of tensors, what
it names is compared with a list of words and never looked up, and anything else is an error.

Source: the documentation of Python's `pickletools` and of `torch.save`.
"""

import dataclasses
import math
import pickletools
import re

import numpy as np

# Storage -> dtype of its values; of a bfloat16 only the bits.
_STORAGES = {
    'torch DoubleStorage': '<f8', 'torch FloatStorage': '<f4', 'torch HalfStorage': '<f2',
    'torch BFloat16Storage': '<u2', 'torch LongStorage': '<i8', 'torch IntStorage': '<i4',
    'torch ShortStorage': '<i2', 'torch CharStorage': 'i1', 'torch ByteStorage': 'u1',
    'torch BoolStorage': '?'}
_DICT = 'collections OrderedDict'
_TENSOR = ('torch._utils _rebuild_tensor_v2', 'torch._utils _rebuild_tensor')
_PARAMETER = 'torch._utils _rebuild_parameter'
# What training scripts leave in their checkpoints beside tensors; it is dropped.
_OPTIONS = 'argparse Namespace'
_WORDS = {*_STORAGES, _DICT, *_TENSOR, _PARAMETER, _OPTIONS}
_CONSTANTS = {'BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT', 'BINUNICODE'}
_FIXED = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}
_EMPTY = {'EMPTY_DICT': dict, 'EMPTY_LIST': list, 'EMPTY_TUPLE': tuple}
_MOST = 2 ** 48  # values; what NumPy multiplies by their bytes must fit 64 bits
_TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}


@dataclasses.dataclass(frozen=True)
class _Word:
  """The name of something to call: one of `_WORDS`."""
  text: str


class _Dropped:
  """What is there and of no use."""


@dataclasses.dataclass(frozen=True)
class Storage:
  """Values in a row: where they are in the file, their type and how many."""
  key: str
  kind: str
  count: int

  @property
  def dtype(self):
    return np.dtype(_STORAGES[self.kind])

  @property
  def size(self):
    return self.count * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor as a view of a storage; offset and strides count values."""
  storage: Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


def interpret(stream, storages=None):
  """The value that a pickle describes, made of dicts, lists, tuples, plain values and `Tensor`s.

  Args:
    stream: binary file at the pickle's first byte; left behind its last.
    storages: dict that receives key -> `Storage` of those that are named.

  Raises:
    ValueError: an opcode, a name or an argument is none of a file of tensors.
    IndexError, EOFError: a value or the end is missing.
  """
  stack, outer, memo = [], [], {}
  storages = {} if storages is None else storages
  for opcode, argument, place in pickletools.genops(stream):
    name = opcode.name
    if name == 'STOP':
      return stack.pop()
    if name in _CONSTANTS:
      stack.append(argument)
    elif name in _FIXED:
      stack.append(_FIXED[name])
    elif name in _EMPTY:
      stack.append(_EMPTY[name]())
    elif name in _TUPLES:
      stack.append(tuple([stack.pop() for _ in range(_TUPLES[name])][::-1]))
    elif name in ('BINPUT', 'LONG_BINPUT'):
      memo[argument] = stack[-1]
    elif name in ('BINGET', 'LONG_BINGET'):
      if argument not in memo:
        raise ValueError(f'byte {place} of the pickle asks for what is not there')
      stack.append(memo[argument])
    elif name == 'MARK':
      outer.append(stack)
      stack = []
    elif name in ('TUPLE', 'APPENDS', 'SETITEMS'):
      items, stack = stack, outer.pop()
      if name == 'TUPLE':
        stack.append(tuple(items))
      else:
        _extend(stack[-1], items, name == 'SETITEMS')
    elif name == 'APPEND':
      item = stack.pop()
      _extend(stack[-1], [item], False)
    elif name == 'SETITEM':
      items = [stack.pop(), stack.pop()][::-1]
      _extend(stack[-1], items, True)
    elif name == 'GLOBAL':
      if argument not in _WORDS:
        raise ValueError(f'it names {argument.replace(" ", ".")}, which is no part of a tensor')
      stack.append(_Word(argument))
    elif name == 'BINPERSID':
      storage = _storage(stack.pop())
      if storages.setdefault(storage.key, storage) != storage:
        raise ValueError(f'storage {storage.key} is of two types or sizes')
      stack.append(storage)
    elif name in ('REDUCE', 'NEWOBJ'):
      arguments = stack.pop()
      stack.append(_made(stack.pop(), arguments))
    elif name == 'BUILD':  # an OrderedDict's attributes, the options of a script
      stack.pop()
      if not isinstance(stack[-1], (dict, _Dropped)):
        raise ValueError('it sets attributes of what is neither a dict nor options')
    elif name != 'PROTO':
      raise ValueError(f'the opcode {name} at byte {place} of its pickle is none that a file of '
                       'tensors needs')
  raise EOFError('its pickle has no end')


def _extend(target, items, pairs):
  if not pairs and isinstance(target, list):
    target.extend(items)
  elif pairs and isinstance(target, dict) and len(items) % 2 == 0 and all(
      isinstance(key, (str, int, float)) for key in items[::2]):
    target.update(zip(items[::2], items[1::2], strict=True))
  else:
    raise ValueError('it puts values into what is no list or dict for them')


def _made(word, arguments):
  """What calling a word with arguments stands for."""
  if isinstance(word, _Word) and isinstance(arguments, tuple):
    if word.text == _DICT and not arguments:
      return {}
    if word.text == _OPTIONS:
      return _Dropped()
    if word.text in _TENSOR and len(arguments) >= 4:
      return _tensor(*arguments[:4])
    if word.text == _PARAMETER and arguments and isinstance(arguments[0], Tensor):
      return arguments[0]
  raise ValueError('it calls what is none of the ways to make a tensor')


def _storage(identity):
  if isinstance(identity, tuple) and len(identity) in (5, 6) and identity[0] == 'storage':
    _, word, key, _, count, *view = identity
    if (isinstance(word, _Word) and word.text in _STORAGES and isinstance(key, str)
        and re.fullmatch('[0-9]+', key) and type(count) is int and count >= 0 and not any(view)):
      return Storage(key, word.text, count)
  raise ValueError('it refers to something else than the values of a tensor')


def _tensor(storage, offset, shape, strides):
  def sizes(value):
    return isinstance(value, tuple) and all(
        type(length) is int and 0 <= length < _MOST for length in value)
  if not (isinstance(storage, Storage) and sizes((offset,)) and sizes(shape) and sizes(strides)
          and len(shape) == len(strides)):
    raise ValueError('a tensor has no proper sizes')
  last = offset + sum((length - 1) * step for length, step in zip(shape, strides, strict=True))
  if math.prod(shape) > storage.count or 0 not in shape and last >= storage.count:
    raise ValueError(f'a tensor of shape {shape} does not fit its {storage.count} values')
  return Tensor(storage, offset, shape, strides)
