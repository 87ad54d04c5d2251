"""docs/spec/erasure.md in Python, from that page alone: compares the parity of every case in parity.json.

Needs the `blake3` package. Prints a line for each case; exit code 1 where one differs.
"""

import json
import pathlib
import sys

import blake3


def product(a, b):
    """Carry-less multiplication modulo x^8 + x^4 + x^3 + x^2 + 1."""
    result = 0
    while b:
        if b & 1:
            result ^= a
        a <<= 1
        if a & 0x100:
            a ^= 0x11D
        b >>= 1
    return result


PRODUCTS = [bytes(product(a, b) for b in range(256)) for a in range(256)]


def power(base, exponent):
    """With 0 to the power of 0 as 1."""
    result = 1
    for _ in range(exponent):
        result = PRODUCTS[result][base]
    return result


def inverse(matrix):
    """By Gauss-Jordan elimination."""
    size = len(matrix)
    rows = [row + [int(i == j) for j in range(size)] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(i for i in range(column, size) if rows[i][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        scale = PRODUCTS[PRODUCTS[rows[column][column]].index(1)]
        rows[column] = [scale[cell] for cell in rows[column]]
        for i in range(size):
            if i != column and rows[i][column]:
                factor = PRODUCTS[rows[i][column]]
                rows[i] = [cell ^ factor[above] for cell, above in zip(rows[i], rows[column])]
    return [row[size:] for row in rows]


def parity_matrix(k, m):
    """The lower m rows of the systematic matrix."""
    upper = inverse([[power(row, column) for column in range(k)] for row in range(k)])
    matrix = []
    for row in range(k, k + m):
        cells = [0] * k
        for i in range(k):
            factor = PRODUCTS[power(row, i)]
            cells = [cell ^ factor[other] for cell, other in zip(cells, upper[i])]
        matrix.append(cells)
    return matrix


def parity(k, m, stripe):
    """The parity shards of a stripe."""
    length = -(-len(stripe) // k)
    padded = stripe + bytes(k * length - len(stripe))
    data = [padded[i * length : (i + 1) * length] for i in range(k)]
    shards = []
    for row in parity_matrix(k, m):
        total = 0
        for factor, shard in zip(row, data):
            total ^= int.from_bytes(shard.translate(PRODUCTS[factor]), "little")
        shards.append(total.to_bytes(length, "little"))
    return shards


def main():
    """Compares all cases."""
    cases = json.loads(pathlib.Path(__file__).with_name("parity.json").read_text())
    same = True
    for case in cases:
        k, m, length = case["k"], case["m"], case["stripe_len"]
        stripe = bytes((at * 2654435761 % 2**32 >> 11) % 256 for at in range(length))
        shards = parity(k, m, stripe)
        digest = blake3.blake3(b"".join(shards)).hexdigest()
        equal = len(shards[0]) == case["shard_len"] and digest == case["parity_blake3"]
        print(f"{k} + {m}, {length} bytes: {'equal' if equal else 'DIFFERENT'}")
        same = same and equal
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
