"""Integer codes and array layouts shared by the fitting kernels and the Python that drives them."""

from __future__ import annotations

LINE, PLANE, CIRCLE, SPHERE, CYLINDER, CONE, TORUS, ELLIPSE = range(8)
KIND_NAMES = ("line", "plane", "circle", "sphere", "cylinder", "cone", "torus", "ellipse")

# Number of chart parameters, and of residual rows that one point gives.
N_PARAMETERS = (4, 3, 6, 4, 5, 6, 7, 8)
N_ROWS = (2, 1, 2, 1, 1, 1, 1, 2)
N_SIZES = (0, 0, 1, 1, 1, 2, 2, 2)

# Rows of the scratch (columns of the Jacobian, then the residual) that are not zero throughout, one bit each; the
# second residual of line, circle and ellipse apart.
COLUMNS = (0b10101, 0b1111, 0b1111011, 0b11111, 0b111111, 0b1111111, 0b11111111, 0b111111011)
COLUMNS2 = (0b11010, 0, 0b1011100, 0, 0, 0, 0, 0b100011100)

# A pose is 14 numbers in centred, scaled coordinates: origin c, axes u, v, w (rows), sizes s0, s1.
POSE = 14
# cylinder: s0 = radius; cone: s0 = radius at c, s1 = half-angle; torus: s0 = major, s1 = minor; ellipse: s0, s1 =
# semi-axes.

BLOCK = 512  # points copied together into structure-of-arrays scratch (stays in the first-level cache)
ROW = BLOCK + 16  # distance of its rows: at a power of two all rows would share a few sets of that cache
CHUNK = 16384  # points summed into one partial result; partials are folded in chunk order, whatever the threads
LANES = 32  # interleaved accumulators of every sum, folded in a fixed order: vectors without reassociation

# One partial result: packed upper triangle of [J e]'[J e], then extremes: of the residual, along the axis (of features
# with an extent), the largest squared reach, and a number that means nothing.
GRAM = 45
S_DMIN, S_DMAX, S_GMIN, S_GMAX, S_REACH2 = 45, 46, 47, 48, 49
N_SUMS = 51
ROWS2 = 9  # first scratch row of the second residual

# Moments pass: finite count, sums of x y z, sums of products (xx xy xz yy yz zz), min x y z, max x y z
M_COUNT, M_SUM, M_PROD, M_MIN, M_MAX = 0, 1, 4, 10, 13
N_MOMENTS = 16

# info vector of a fit, and the codes of its first part
I_CENTRE, I_SCALE, I_CENTROID, I_LEAST, I_CONDITION, I_GRADIENT, I_EMPTY = 0, 3, 4, 7, 8, 9, 10
N_INFO = 11
READY, SEARCH, BAD_POINTS, NO_EXTENT, COLLINEAR, COPLANAR = 0, 1, 2, 3, 4, 5
# Ratio of variances across and along below which points are a line (or a plane) to rounding: the moments carry 1e-16.
FLAT_BELOW = 1e-14

MAX_CANDIDATES = 320  # that one search may make on its own
SAMPLE = 256  # points that the search for a start looks at
SCORED = 64  # points of it that rank candidates
LIMITS = (1, 6, 60, 80)  # passes allowed in each stage of the search, the last with all points
KEEP = (0, 12, 4, 1)  # candidates that enter each stage

# Beyond LARGEST the squares of lengths come near overflow, below SMALLEST near underflow; points whose spread is below
# EQUAL_BELOW of their size (eight roundings of a coordinate) are equal to rounding.
LARGEST, SMALLEST, EQUAL_BELOW = 1e140, 1e-140, 8.0 * 2.220446049250313e-16
