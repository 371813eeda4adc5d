"""With which other image of the batch each one is compared as probably different.

Source: specs/stego.md, section 2.5.
"""

import tensorflow as tf

from network.common.hashing import hash_numbers


def derangement(seed, images):
  """A permutation that leaves no image at its place: a random cycle through all of them.

  Each of the other images is equally likely to be an image's partner.

  Args:
    seed: two integers, int32 [2] for one.
    images: n >= 2, int.

  Returns:
    int32 [n], the partner of each image.

  Raises:
    ValueError: fewer than two images, where the only partner is the image itself.

  Deviates from the original, which duplicates images: that is `faithful_pairing`.
  """
  if images < 2:
    raise ValueError(f'a batch of {images}: the loss compares each image with others, which takes '
                     'at least 2; raise --batch_size')
  order = _permutation(seed, images)
  return tf.gather(order, (tf.argsort(order) + 1) % images)


def faithful_pairing(permutation):
  """The original's pairing: a permutation whose fixed points are moved to the next image.

  It leaves no image at its place, but is no permutation any more; a single image is its own
  partner.

  Args:
    permutation: integer [n], of 0 to n - 1.

  Returns:
    [n] of the same type.
  """
  places = tf.range(tf.size(permutation))
  fixed = permutation == tf.cast(places, permutation.dtype)
  count = tf.cast(tf.size(permutation), permutation.dtype)
  return (permutation + tf.cast(fixed, permutation.dtype)) % count


def pairings(seed, images, count, faithful=False):
  """Several independent draws.

  Args:
    seed: two integers, int32 [2] for one.
    images: n >= 2, int.
    count: R.
    faithful: `faithful_pairing` of random permutations rather than `derangement`.

  Returns:
    int32 [R, n].

  Raises:
    ValueError: fewer than two images.
  """
  seed = tf.convert_to_tensor(seed)
  draws = []
  for draw in range(count):
    # A stream of its own for each draw, which no draw of another step shares.
    own = tf.stack([seed[0], tf.cast(hash_numbers(draw, seed) // 2, seed.dtype)])
    if faithful and images > 1:
      draws.append(faithful_pairing(_permutation(own, images)))
    else:
      draws.append(derangement(own, images))
  return tf.stack(draws)


def _permutation(seed, images):
  """A random permutation, int32 [images]."""
  return tf.argsort(hash_numbers(tf.range(images), seed), stable=True)
