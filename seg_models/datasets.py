"""What is known of each data set: classes, colours, which labels do not count."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from utils import colors, scenes


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
  """An immutable description of a data set.

  Attributes:
    name: its name, the key in `DATASETS`.
    classes: names of the classes; a label is an index into them.
    palette: uint8 [classes, 3], read-only.
    ignore_label: the label of pixels that do not count.
    label_map: None, or what the numbers in the mask files mean: number -> class, or None for pixels
      that do not count. Numbers that are not in it are faults.
    mapped_suffix: the label map is for masks whose name ends so; others hold classes already.
    splits: number of images of each official split.
  """

  name: str
  classes: tuple[str, ...]
  palette: np.ndarray
  ignore_label: int = 255
  label_map: Mapping[int, int | None] | None = None
  mapped_suffix: str = ''
  splits: Mapping[str, int] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    palette = np.array(self.palette, np.uint8)
    if palette.shape != (len(self.classes), 3):
      raise ValueError(f'{self.name}: {len(self.classes)} classes, but palette {palette.shape}')
    palette.setflags(write=False)
    object.__setattr__(self, 'palette', palette)

  @property
  def num_classes(self):
    return len(self.classes)

  def from_file(self, mask, path):
    """Turns the numbers of a mask file into labels by the label map, where the file needs it.

    Args:
      mask: int32 [height, width], as stored.
      path: the file's name.

    Returns:
      int32 [height, width], labels and `ignore_label`.

    Raises:
      ValueError: the map does not know a number; names the file and the numbers.
    """
    if self.label_map is None or not str(path).endswith(self.mapped_suffix):
      return mask
    numbers, inverse = np.unique(mask, return_inverse=True)
    unknown = [int(number) for number in numbers if int(number) not in self.label_map]
    if unknown:
      raise ValueError(f'{path}: the numbers {unknown} mean nothing in {self.name}; is it '
                       'another data set (--dataset)?')
    labels = [self.label_map[int(number)] for number in numbers]
    labels = [self.ignore_label if label is None else label for label in labels]
    return np.array(labels, np.int32)[inverse].reshape(mask.shape)


_VOC_CLASSES = (
    'background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair',
    'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa',
    'train', 'tvmonitor')

_CITYSCAPES = (  # labelId, class, colour
    (7, 'road', (128, 64, 128)), (8, 'sidewalk', (244, 35, 232)), (11, 'building', (70, 70, 70)),
    (12, 'wall', (102, 102, 156)), (13, 'fence', (190, 153, 153)), (17, 'pole', (153, 153, 153)),
    (19, 'traffic light', (250, 170, 30)), (20, 'traffic sign', (220, 220, 0)),
    (21, 'vegetation', (107, 142, 35)), (22, 'terrain', (152, 251, 152)),
    (23, 'sky', (70, 130, 180)), (24, 'person', (220, 20, 60)), (25, 'rider', (255, 0, 0)),
    (26, 'car', (0, 0, 142)), (27, 'truck', (0, 0, 70)), (28, 'bus', (0, 60, 100)),
    (31, 'train', (0, 80, 100)), (32, 'motorcycle', (0, 0, 230)), (33, 'bicycle', (119, 11, 32)))

# Ids 0 to 33; the license plate, -1, is stored as 255.
_CITYSCAPES_LABEL_IDS = {
    **dict.fromkeys((*range(34), 255)),
    **{label_id: index for index, (label_id, _, _) in enumerate(_CITYSCAPES)}}

_CITYSCAPES27_CLASSES = (  # all labelIds from 7 on, as the unsupervised methods count them
    'road', 'sidewalk', 'parking', 'rail track', 'building', 'wall', 'fence', 'guard rail',
    'bridge', 'tunnel', 'pole', 'polegroup', 'traffic light', 'traffic sign', 'vegetation',
    'terrain', 'sky', 'person', 'rider', 'car', 'truck', 'bus', 'caravan', 'trailer', 'train',
    'motorcycle', 'bicycle')

_CAMVID = (
    ('sky', (128, 128, 128)), ('building', (128, 0, 0)), ('pole', (192, 192, 128)),
    ('road', (128, 64, 128)), ('pavement', (60, 40, 222)), ('tree', (128, 128, 0)),
    ('sign', (192, 128, 128)), ('fence', (64, 64, 128)), ('car', (64, 0, 128)),
    ('pedestrian', (64, 64, 0)), ('bicyclist', (0, 128, 192)))

_COCO_STUFF27 = (  # coarse class, fine numbers of the pixel maps (0..181)
    ('electronic', range(71, 77)), ('appliance', range(77, 83)), ('food', range(51, 61)),
    ('furniture', range(61, 71)), ('indoor', range(83, 91)), ('kitchen', range(43, 51)),
    ('accessory', range(25, 33)), ('animal', range(15, 25)), ('outdoor', range(9, 15)),
    ('person', (0,)), ('sports', range(33, 43)), ('vehicle', range(1, 9)), ('ceiling', (101, 102)),
    ('floor', (100, *range(113, 118))), ('food (stuff)', (120, 121, 152, 169)),
    ('furniture (stuff)', (97, 106, 107, 109, 111, 122, 129, 132, 155, 160, 164)),
    ('rawmaterial', (99, 131, 138, 142)),
    ('textile', (91, 92, 103, 104, 108, 130, 136, 140, 151, 166, 167)),
    ('wall', range(170, 177)), ('window', (179, 180)), ('building', (94, 95, 127, 150, 157, 165)),
    ('ground', (110, 124, 125, 135, 139, 143, 144, 146, 148, 153, 158)),
    ('plant', (93, 96, 118, 123, 128, 133, 141, 162, 168)), ('sky', (105, 156)),
    ('solid', (126, 134, 149, 159, 161, 181)), ('structural', (98, 112, 137, 145, 163)),
    ('water', (119, 147, 154, 177, 178)))

_COCO_STUFF = (  # 80 things, then 91 stuffs
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat',
    'traffic light', 'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog',
    'horse', 'sheep', 'cow', 'elephant', 'bear', 'zebra', 'giraffe', 'backpack', 'umbrella',
    'handbag', 'tie', 'suitcase', 'frisbee', 'skis', 'snowboard', 'sports ball', 'kite',
    'baseball bat', 'baseball glove', 'skateboard', 'surfboard', 'tennis racket', 'bottle',
    'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple', 'sandwich', 'orange',
    'broccoli', 'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch', 'potted plant',
    'bed', 'dining table', 'toilet', 'tv', 'laptop', 'mouse', 'remote', 'keyboard', 'cell phone',
    'microwave', 'oven', 'toaster', 'sink', 'refrigerator', 'book', 'clock', 'vase', 'scissors',
    'teddy bear', 'hair drier', 'toothbrush', 'banner', 'blanket', 'branch', 'bridge',
    'building-other', 'bush', 'cabinet', 'cage', 'cardboard', 'carpet', 'ceiling-other',
    'ceiling-tile', 'cloth', 'clothes', 'clouds', 'counter', 'cupboard', 'curtain', 'desk-stuff',
    'dirt', 'door-stuff', 'fence', 'floor-marble', 'floor-other', 'floor-stone', 'floor-tile',
    'floor-wood', 'flower', 'fog', 'food-other', 'fruit', 'furniture-other', 'grass', 'gravel',
    'ground-other', 'hill', 'house', 'leaves', 'light', 'mat', 'metal', 'mirror-stuff', 'moss',
    'mountain', 'mud', 'napkin', 'net', 'paper', 'pavement', 'pillow', 'plant-other', 'plastic',
    'platform', 'playingfield', 'railing', 'railroad', 'river', 'road', 'rock', 'roof', 'rug',
    'salad', 'sand', 'sea', 'shelf', 'sky-other', 'skyscraper', 'snow', 'solid-other', 'stairs',
    'stone', 'straw', 'structural-other', 'table', 'tent', 'textile-other', 'towel', 'tree',
    'vegetable', 'wall-brick', 'wall-concrete', 'wall-other', 'wall-panel', 'wall-stone',
    'wall-tile', 'wall-wood', 'water-other', 'waterdrops', 'window-blind', 'window-other', 'wood')
# The pixel maps hold a category's id less one; these ids were never used.
_COCO_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
_COCO_STUFF_NUMBERS = [number for number in range(182) if number + 1 not in _COCO_UNUSED]

# The 59 classes that are scored of the 459, in alphabetical order, which is that of their numbers.
_PASCAL_CONTEXT = (
    'aeroplane', 'bag', 'bed', 'bedclothes', 'bench', 'bicycle', 'bird', 'boat', 'book', 'bottle',
    'building', 'bus', 'cabinet', 'car', 'cat', 'ceiling', 'chair', 'cloth', 'computer', 'cow',
    'cup', 'curtain', 'dog', 'door', 'fence', 'floor', 'flower', 'food', 'grass', 'ground', 'horse',
    'keyboard', 'light', 'motorbike', 'mountain', 'mouse', 'person', 'plate', 'platform',
    'pottedplant', 'road', 'rock', 'sheep', 'shelves', 'sidewalk', 'sign', 'sky', 'snow', 'sofa',
    'table', 'track', 'train', 'tree', 'truck', 'tvmonitor', 'wall', 'water', 'window', 'wood')

DATASETS = {dataset.name: dataset for dataset in (
    Dataset('voc12', _VOC_CLASSES, colors.voc_palette(21),
            splits={'train': 1464, 'train+': 10582, 'val': 1449, 'trainval': 2913}),
    Dataset('cityscapes', tuple(name for _, name, _ in _CITYSCAPES),
            np.array([color for _, _, color in _CITYSCAPES]),
            label_map=_CITYSCAPES_LABEL_IDS, mapped_suffix='_labelIds.png',
            splits={'train': 2975, 'val': 500}),
    Dataset('cityscapes27', _CITYSCAPES27_CLASSES, colors.voc_palette(27),
            label_map={**dict.fromkeys((*range(7), 255)), **{7 + i: i for i in range(27)}},
            mapped_suffix='_labelIds.png', splits={'train': 2975, 'val': 500}),
    Dataset('camvid', tuple(name for name, _ in _CAMVID),
            np.array([color for _, color in _CAMVID]), splits={'train': 367, 'val': 101}),
    Dataset('coco_stuff', _COCO_STUFF, colors.voc_palette(171),
            label_map={255: None, **{number: index for index, number
                                     in enumerate(_COCO_STUFF_NUMBERS)}},
            splits={'train': 118287, 'val': 5000}),
    Dataset('coco_stuff27', tuple(name for name, _ in _COCO_STUFF27), colors.voc_palette(27),
            label_map={255: None, **{number: index for index, (_, numbers)
                                     in enumerate(_COCO_STUFF27) for number in numbers}}),
    # Masks with 0 for none of the 59, which does not count or is a class, as the converters of
    # openseg and mmsegmentation write them; the site's own 59_context_labels has another order.
    Dataset('pascal_context', _PASCAL_CONTEXT, colors.voc_palette(60)[1:],
            label_map={0: None, 255: None, **{1 + index: index for index in range(59)}},
            splits={'train': 4998, 'val': 5105}),
    Dataset('pascal_context60', ('background', *_PASCAL_CONTEXT), colors.voc_palette(60),
            splits={'train': 4998, 'val': 5105}),
    # Of the six classes of the tiles' masks, as the unsupervised methods count them.
    Dataset('potsdam3', ('roads and cars', 'buildings and clutter', 'vegetation and trees'),
            np.array([(255, 255, 255), (0, 0, 255), (0, 255, 255)]),
            label_map={0: 0, 4: 0, 1: 1, 5: 1, 2: 2, 3: 2, 255: None}),
    Dataset('scenes', scenes.CLASSES, colors.voc_palette(len(scenes.CLASSES))),
)}


def dataset_for(name=None, num_classes=None, ignore_label=None):
  """The descriptor of a data set.

  Args:
    name: None, or a key of `DATASETS`.
    num_classes: None, or the number of classes. Without a name (default 21) VOC's names and colours
      are cut or extended to it; with a name it has to be that data set's.
    ignore_label: None for the data set's own (255), or another.

  Returns:
    A `Dataset`.

  Raises:
    ValueError: an unknown name, a number of classes that contradicts the name, or one that is not
      positive.
  """
  if name is None:
    num_classes = 21 if num_classes is None else num_classes
    if num_classes < 1:
      raise ValueError(f'--num_classes {num_classes}: expected at least 1')
    more = tuple(f'class {index}' for index in range(len(_VOC_CLASSES), num_classes))
    dataset = Dataset('unnamed', _VOC_CLASSES[:num_classes] + more, colors.voc_palette(num_classes))
  elif name not in DATASETS:
    raise ValueError(f'--dataset {name}: known are {", ".join(DATASETS)}; for other data leave it '
                     'out and give --num_classes')
  else:
    dataset = DATASETS[name]
    if num_classes not in (None, dataset.num_classes):
      raise ValueError(f'--num_classes {num_classes} contradicts --dataset {name}, which has '
                       f'{dataset.num_classes} classes; leave one of them out')
  if ignore_label is None:
    return dataset
  return dataclasses.replace(dataset, ignore_label=ignore_label)
