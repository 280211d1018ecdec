"""Ward's hierarchical clustering of the patches of a photo, for many photos at once.

Merging two groups costs the squared distance of their means times n1 n2 / (n1 + n2), which is what
it adds to the squares of the patches about their group's mean (Ward, JASA 1963). The plain
algorithm does P - m merges one after another. Here all pairs of groups that are each other's
cheapest partner merge in one round. The tree is the same, because a merge never brings a third
group nearer than both its parts were (Murtagh, The Computer Journal 1983). Its P - m cheapest
merges give m groups.
"""

import torch
from torch import Tensor


def ward(patches: Tensor, m: int) -> Tensor:
    """Return (B, m, P) bool: each patch of (B, P, D) in one of min(m, P) groups.

    Groups are in the order of their first patches; if P < m, the last rows are empty.
    """
    into, costs = _tree(patches)
    count = patches.shape[1]
    order = costs.argsort(dim=1, stable=True)[:, : max(count - m, 0)]  # the cheapest merges
    first = torch.arange(count).repeat(len(patches), 1)
    first = first.scatter(1, order, into.gather(1, order))  # (B, P): an earlier patch of its group
    for _ in range(count.bit_length()):
        first = first.gather(1, first)  # pointer doubling, up to the first patch of the group
    number = (first == torch.arange(count)).cumsum(dim=1) - 1
    return number.gather(1, first)[:, None, :] == torch.arange(m)[:, None]


def _tree(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Merge down to one group; a group is named by its first patch.

    Returns:
        into (B, P): the group that group p is merged into, which has a smaller name;
        costs (B, P): the cost of that merge, infinite for the last group.
    """
    products = torch.bmm(patches, patches.transpose(1, 2))  # of the groups' sums, (B, n, n)
    sizes = products.new_ones(products.shape[:2])
    names = torch.arange(products.shape[1]).repeat(len(products), 1)
    into, costs = names.clone(), torch.full_like(sizes, torch.inf)
    for _ in range(products.shape[1] - 1):
        cost = _costs(products, sizes)
        cheapest, partner = cost.min(dim=2)
        here = torch.arange(cost.shape[1])
        mutual = (partner.gather(1, partner) == here) & cheapest.isfinite()
        goes, grows = mutual & (partner < here), mutual & (partner > here)
        photo, group = goes.nonzero(as_tuple=True)
        name = names[photo, group]
        into[photo, name] = names[photo, partner[photo, group]]
        costs[photo, name] = cheapest[photo, group]
        left = (sizes > 0) & ~goes
        most = max(left.sum(dim=1).tolist(), default=1)
        keep = left.long().argsort(dim=1, descending=True, stable=True)[:, :most]
        products = _merged(products, keep, partner, grows)
        products = _merged(products.transpose(1, 2), keep, partner, grows)
        sizes = (sizes + grows * sizes.gather(1, partner)).gather(1, keep) * left.gather(1, keep)
        names = names.gather(1, keep)
        if names.shape[1] == 1:
            break
    return into, costs


def _costs(products: Tensor, sizes: Tensor) -> Tensor:
    """Return the costs of merging two groups, (B, n, n); infinite with itself or an empty group.

    They are symmetric to the bit; otherwise there might be no pair of mutually cheapest partners.
    """
    shares = sizes.clamp_min(1).reciprocal()
    means = products * (shares[:, :, None] * shares[:, None, :])
    squares = means.diagonal(dim1=1, dim2=2).clone()  # a copy: the next line writes over it
    apart = means.mul_(-2).add_(squares[:, :, None] + squares[:, None, :])
    cost = apart.clamp_min_(0).div_(shares[:, :, None] + shares[:, None, :])
    cost = torch.minimum(cost, cost.transpose(1, 2))
    cost.masked_fill_((sizes == 0)[:, None, :], torch.inf)
    cost.masked_fill_((sizes == 0)[:, :, None], torch.inf)
    cost.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    return cost


def _merged(products: Tensor, keep: Tensor, partner: Tensor, grows: Tensor) -> Tensor:
    """Return the rows to keep of (B, n, n), each with the row of its partner added if it grows."""
    photos = torch.arange(len(products))[:, None]
    other, added = partner.gather(1, keep), grows.gather(1, keep)
    return products[photos, keep].addcmul_(added[..., None], products[photos, other])
