"""Samples of test_oracle.py: sorting, searching and running extremes."""

import lucid
from tests.samples import R, sample, whole


@sample
def sorts(n, kind):
    x = R(3, n, kind=kind)
    found = [x.sort(1)[0], x.sort(0, True)[0], x.topk(2, 1)[0], x.median(), x.quantile(0.3, 1)]
    found += [x.cummax(1)[0], x.cummin(0)[0], x.logcumsumexp(1), x.mode(1)[0], x.kthvalue(2, 1)[0]]
    row = x.detach().sort(1)[0]
    places = [lucid.searchsorted(row, row), lucid.bucketize(x.detach(), row[0], right=True)]
    counts = [whole(n).bincount(), lucid.isin(whole(n), whole(2))]
    return [*found, *places, *counts]
