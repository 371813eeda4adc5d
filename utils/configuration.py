"""The bridge between frozen dataclasses, the only configuration there is, and command-line flags.

Defaults live once, in the dataclass: a flag that is not given is absent from the namespace and the
dataclass supplies the value. A script may override a default by name, for the originals' scripts
differ in a few.
"""

import argparse
import dataclasses
import types
import typing


def option(default, help, choices=None, flags=()):
  """A dataclass field that becomes a flag: default, help, choices and further spellings."""
  metadata = {'help': help, 'choices': choices, 'flags': tuple(flags)}
  return dataclasses.field(default=default, metadata=metadata)


def _tuple_of(kind, length):
  def parse(text):
    try:
      values = tuple(kind(part) for part in text.split(',') if part.strip())
    except ValueError:
      raise argparse.ArgumentTypeError(
          f'{text!r}: expected {kind.__name__} values with commas, such as 336,336') from None
    if length and len(values) != length:
      raise argparse.ArgumentTypeError(f'{text!r}: expected {length} values separated by a comma')
    return values
  return parse


def _parser_of(annotation):
  """The argparse keywords for an annotation: int, float, str, bool, a tuple, or one or None."""
  if isinstance(annotation, types.UnionType):
    kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    return _parser_of(kinds[0])
  if annotation is bool:
    return {'action': argparse.BooleanOptionalAction}
  if typing.get_origin(annotation) is tuple:
    kinds = typing.get_args(annotation)
    return {'type': _tuple_of(kinds[0], 0 if kinds[-1] is Ellipsis else len(kinds))}
  return {'type': annotation}


def _text(value):
  return ','.join(str(part) for part in value) if isinstance(value, tuple) else value


def add_arguments(parser, *classes, defaults=None):
  """Adds one flag for every field of the dataclasses.

  Args:
    parser: an `argparse.ArgumentParser`.
    *classes: frozen dataclasses whose field names are unique among them.
    defaults: name -> value that a script puts in the place of the dataclass's own default; only
      shown here, `from_arguments` takes the same mapping.

  Raises:
    ValueError: a default is named that no class has.
  """
  defaults = dict(defaults or {})
  for cls in classes:
    hints = typing.get_type_hints(cls)
    group = parser.add_argument_group(cls.__name__)
    for field in dataclasses.fields(cls):
      default = defaults.pop(field.name, field.default)
      names = [f'--{name}' for name in (field.name, *field.metadata.get('flags', ()))]
      shown = '' if default is None else f' (default: {_text(default)})'
      keywords = _parser_of(hints[field.name])
      if field.metadata.get('choices'):  # which flags without a value must not have, from 3.12 on
        keywords['choices'] = field.metadata['choices']
      group.add_argument(
          *names, dest=field.name, default=argparse.SUPPRESS,
          help=(field.metadata.get('help', '') + shown).replace('%', '%%'), **keywords)
  if defaults:
    raise ValueError(f'no configuration has the fields {sorted(defaults)}')


def from_arguments(cls, namespace, defaults=None):
  """An instance of `cls` from the flags given, the script's defaults, and the class's own."""
  given = vars(namespace)
  names = {field.name for field in dataclasses.fields(cls)}
  values = {name: value for name, value in (defaults or {}).items() if name in names}
  values.update({name: given[name] for name in names if name in given})
  return cls(**values)


def from_dict(cls, values):
  """An instance of `cls` from a mapping, as read from JSON; an unknown key is an error."""
  hints = typing.get_type_hints(cls)
  unknown = sorted(set(values) - set(hints))
  if unknown:
    raise ValueError(f'{cls.__name__} has no field {", ".join(unknown)}; it has {", ".join(hints)}')
  return cls(**{
      name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
