"""Non-local means as OpenCV's `fastNlMeansDenoisingMulti` computes them, in whole numbers, written for clarity.

Of `frames`, (M, N, C) arrays of uint8 or uint16, number `index` is denoised; frames up to `temporal` away take part
where there are any. `strengths` is one h or one for each channel.
"""

import numpy as np


def opencv_nl_means(frames, index=0, temporal=0, strengths=(3,), template=7, search=21, absolute=False):
    top = int(np.iinfo(frames[0].dtype).max)
    rows, columns, channels = frames[0].shape
    radius, distance = template // 2, search // 2
    width, margin = 2 * radius + 1, radius + distance
    offsets = (2 * distance + 1) ** 2 * (2 * temporal + 1)
    tables = [weight_table(h, channels, width, offsets, top, absolute) for h in strengths]
    shift = (width**2 - 1).bit_length()
    padded = [np.pad(f.astype(np.int64), [(margin, margin)] * 2 + [(0, 0)], mode="reflect") for f in frames]
    patches = padded[index][distance : distance + rows + 2 * radius, distance : distance + columns + 2 * radius]
    total, weights = np.zeros(frames[0].shape, np.int64), np.zeros(frames[0].shape, np.int64)
    for frame in padded[max(index - temporal, 0) : index + temporal + 1]:
        for y in range(2 * distance + 1):
            for x in range(2 * distance + 1):
                difference = patches - frame[y : y + rows + 2 * radius, x : x + columns + 2 * radius]
                costs = (np.abs(difference) if absolute else difference**2).sum(axis=-1)
                sums = np.lib.stride_tricks.sliding_window_view(costs, (width, width)).sum(axis=(-2, -1))
                partner = frame[radius + y : radius + y + rows, radius + x : radius + x + columns]
                for channel in range(channels):
                    weight = tables[channel % len(tables)][sums >> shift]
                    total[..., channel] += weight * partner[..., channel]
                    weights[..., channel] += weight
    return ((total + weights // 2) // weights).astype(frames[0].dtype)


def weight_table(h, channels, width, offsets, top, absolute):
    unit = min((2**31 - 1 if top == 255 else 2**63 - 1) // (offsets * top), 2**31 - 1)
    step = 2 ** (width**2 - 1).bit_length() / width**2
    largest = (top if absolute else top**2) * channels
    table = []
    for k in range(int(largest / step + 1)):
        distance = k * step
        scale = float(np.float32(h) * np.float32(h) * np.float32(channels))
        exponent = (distance**2 if absolute else distance) / scale if scale > 0 else np.inf if k else 0.0
        share = np.exp(-exponent)
        weight = np.rint(unit * share)
        table.append(0 if weight < 0.001 * unit else int(weight))
    return np.array(table)
