"""Pickles that are made to do harm do nothing, and say what they wanted."""

import io
import os
import pickle
import struct

import pytest

from utils.tensor_pickles import Storage, Tensor, interpret

MARK, TUPLE, REDUCE, BUILD, STOP = b'(', b't', b'R', b'b', b'.'
EMPTY_TUPLE, EMPTY_DICT, EMPTY_LIST, NONE, FALSE = b')', b'}', b']', b'N', b'\x89'


def text(value):
  return b'X' + struct.pack('<I', len(value.encode())) + value.encode()


def number(value):
  if abs(value) < 2 ** 31:
    return b'J' + struct.pack('<i', value)
  digits = pickle.encode_long(value)
  return b'\x8a' + bytes([len(digits)]) + digits


def word(module, name):
  return f'c{module}\n{name}\n'.encode()


def numbers(values):
  return MARK + b''.join(map(number, values)) + TUPLE


def call(function, *arguments):
  return function + MARK + b''.join(arguments) + TUPLE + REDUCE


ORDERED = word('collections', 'OrderedDict') + EMPTY_TUPLE + REDUCE


def dictionary(items, start=EMPTY_DICT):
  return start + MARK + b''.join(
      (number(key) if isinstance(key, int) else text(key)) + value
      for key, value in items.items()) + b'u'


def interpreted(content):
  return interpret(io.BytesIO(b'\x80\x02' + content + STOP))


class Harmful:
  """What unpickling would run."""

  def __init__(self, function, *arguments):
    self._reduced = function, arguments

  def __reduce__(self):
    return self._reduced


def harmful_pickles(target):
  system = word('os', 'system')
  command = text(f'touch {target}')
  tensor = word('torch._utils', '_rebuild_tensor_v2')
  return {
      'system': call(system, command),
      'posix': pickle.dumps(Harmful(os.system, f'touch {target}'), 2)[2:-1],
      'eval': call(word('builtins', 'eval'), text(f'open({str(target)!r}, "w")')),
      'getattr': call(word('builtins', 'getattr'), word('torch', 'FloatStorage'), text('x')),
      'stack_global': text('os') + text('system') + b'\x93' + command + b'\x85R',
      'protocol 4': pickle.dumps(Harmful(os.system, f'touch {target}'), 4)[2:-1],
      'inst': MARK + command + b'ios\nsystem\n', 'obj': MARK + system + command + b'o',
      'newobj_ex': system + MARK + command + TUPLE + EMPTY_DICT + b'\x92',
      'extension': b'\x82\x01' + EMPTY_TUPLE + REDUCE, 'persid': b'Pos.system\n',
      'persistent id': MARK + text('module') + system + TUPLE + b'Q',
      'build on a word': word('torch', 'FloatStorage') + dictionary({'a': NONE}) + BUILD,
      'storage called': call(word('torch', 'FloatStorage'), number(3)),
      'call of a tensor': call(call(tensor, NONE, NONE, NONE, NONE), command),
      'call of a text': call(text('os.system'), command),
      'torch.load': call(word('torch', 'load'), text(str(target))),
      'submodule': word('torch._utils', '_rebuild_tensor_v2.__globals__'),
      'numpy': call(word('numpy.core.multiarray', 'scalar'), NONE),
      'dict of dicts': call(word('collections', 'OrderedDict'), EMPTY_LIST),
      'unhashable': EMPTY_DICT + EMPTY_LIST + NONE + b's', 'pop': NONE + b'0',
      'nothing': b'', 'reduce nothing': REDUCE, 'no mark': b'u', 'no memo': b'h\x07'}


@pytest.mark.parametrize('inside', [False, True])
@pytest.mark.parametrize('name', harmful_pickles('x'))
def test_harmful_pickles_do_nothing(tmp_path, monkeypatch, name, inside):
  target = tmp_path / 'touched'
  content = harmful_pickles(target)[name]

  def called(*arguments):
    raise AssertionError(f'called with {arguments}')
  monkeypatch.setattr(pickle, 'loads', called)
  monkeypatch.setattr(pickle, 'load', called)
  monkeypatch.setattr(os, 'system', called)
  with pytest.raises((ValueError, IndexError, EOFError)):
    interpreted(dictionary({'a': content}) if inside else content)
  assert not target.exists()


def test_the_harmful_pickles_are_harmful(tmp_path):
  """One that is unpickled by Python does what the others want to."""
  target = tmp_path / 'touched'
  pickle.loads(b'\x80\x02' + harmful_pickles(target)['posix'] + STOP)
  assert target.exists()


@pytest.mark.parametrize('name, message', [
    ('system', 'it names os.system, which is no part of a tensor'),
    ('stack_global', 'the opcode STACK_GLOBAL at byte'), ('inst', 'the opcode INST at byte'),
    ('obj', 'it names os.system'), ('persid', 'the opcode PERSID'),
    ('persistent id', 'it names os.system'),
    ('storage called', 'none of the ways to make a tensor'),
    ('build on a word', 'neither a dict nor options'), ('unhashable', 'no list or dict for them'),
    ('no memo', 'asks for what is not there')])
def test_what_was_wanted_is_named(name, message):
  with pytest.raises(ValueError, match=message):
    interpreted(harmful_pickles('x')[name])


def test_plain_values():
  content = dictionary({
      'a': b'K\x01K\x02K\x03\x87', 'b': EMPTY_LIST + MARK + number(2 ** 40) + b'e',
      'c': EMPTY_LIST + b'\x88a', 'd': ORDERED + text('x') + NONE + b's', 'e': b'K\x01\x85',
      'f': b'G' + struct.pack('>d', 0.5) + b'q\x01', 'g': b'h\x01', 'h': b'M\x00\x01K\x02\x86'})
  assert interpreted(content) == {
      'a': (1, 2, 3), 'b': [2 ** 40], 'c': [True], 'd': {'x': None}, 'e': (1,), 'f': 0.5, 'g': 0.5,
      'h': (256, 2)}


def test_a_tensor_is_described_and_its_storage_handed_out():
  storage = MARK + text('storage') + word('torch', 'HalfStorage') + text('7') + text('cuda:0') + (
      number(6) + TUPLE + b'Q')
  tensor = call(word('torch._utils', '_rebuild_tensor_v2'), storage, number(1), numbers((5,)),
                numbers((1,)), FALSE, ORDERED)
  storages = {}
  expected = Storage('7', 'torch HalfStorage', 6)
  assert interpret(io.BytesIO(tensor + STOP), storages) == Tensor(expected, 1, (5,), (1,))
  assert storages == {'7': expected} and expected.size == 12
  other = storage.replace(b'Half', b'Float')
  with pytest.raises(ValueError, match='storage 7 is of two types or sizes'):
    interpreted(EMPTY_LIST + MARK + storage + other + b'e')


def test_it_ends_behind_the_pickle():
  stream = io.BytesIO(number(3) + STOP + b'rest')
  assert interpret(stream) == 3
  assert stream.read() == b'rest'
