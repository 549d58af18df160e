"""Random programs: eager and compiled agree to the bit (tests/random_programs.py has them)."""

import random
import warnings

from tests.random_programs import fuzz

SECONDS = 30


def test_random_programs():
    seed = random.SystemRandom().randrange(1 << 30)
    print(f"random programs from seed {seed}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        count, refused, failures = fuzz(SECONDS, seed, show=lambda text: None)
    assert not failures, f"seed {seed}, program {count}\n{failures[0]}"
    assert count and refused <= 3 + count // 3, (count, refused)
