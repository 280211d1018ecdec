"""Join the pooled views of a panorama into the vectors of one photo."""

import numpy as np

from mkt_search.scoring import mean_of_views, stream_weights
from mkt_search.types import EQUAL_SHARES, PhotoVectors


def join_views(views: PhotoVectors, m: int, *, local_share: float = EQUAL_SHARES) -> PhotoVectors:
    """Return the vectors of one photo, of V views of P patches with at least m / V local vectors.

    The global vector g is the mean of the views'. The m local vectors come from all views in turn:
    the first of each, then the second of each, and so on. If there are more views than m, some are
    left out evenly. A local vector l of a view with global vector v becomes l + v - g, so that its
    sum with g is v + l: the photo scores as its best view does.

    Args:
        views: (V, D), (V, n, D), (V, n, P), each scaled as a photo of its own.
        m: local vectors of the photo, at most V n.
        local_share: that the views are scaled by.

    Returns:
        (1, D), (1, m, D), (1, m, V P).
    """
    count, each, dim = views.local_vectors.shape
    patches = views.members.shape[2]
    of_global, _ = stream_weights(local_share)
    global_vector = of_global * mean_of_views(views.global_vectors)  # (D,)
    offsets = views.global_vectors - global_vector  # (V, D)
    is_real = views.counts > 0  # (V, n)
    local_vectors = np.where(is_real[..., None], views.local_vectors + offsets[:, None], 0)
    members = np.zeros((count, each, count, patches), np.bool_)
    members[range(count), :, range(count)] = views.members  # a view's patches are in its block
    order = np.argsort(~is_real.T.ravel(), kind="stable")  # in turn; padding last
    if count > m:
        order = order[np.linspace(0, count - 1, m).round().astype(int)]
    return PhotoVectors(
        global_vector[None],
        local_vectors.swapaxes(0, 1).reshape(-1, dim)[order[:m]][None],
        members.swapaxes(0, 1).reshape(count * each, count * patches)[order[:m]][None],
    )
