"""Recipes to start from (``abbe recipe init``): complete, commented, and checked by the tests."""

from __future__ import annotations

from metrology_core.errors import ParameterError

FEATURES = """\
# Abbe recipe: features of a point cloud. Check it with: abbe recipe check RECIPE
schema: abbe/recipe/1
name: my part
seed: 1

inputs:
  files: ["parts/*.csv"]         # patterns under the data root (default: this folder)
  format: auto                   # auto | text | ply | stl | obj | pcd | hdf5 | qif
  unit: mm                       # unit of the coordinates in the files
  points_are: surface            # surface | ball_centre (then tip_radius: 1.5 mm) | unknown
  acquisition: {lot: "L1", drawing: "D-0001 A"}
  # acquisition_from_name: "part-(?P<serial>[0-9]+)"

# Without an instrument uncertainties hold repeatability only and verdicts are provisional.
instrument:
  id: CMM-01
  type: cmm
  mpe: {constant: 1.5 um, per_length: 3 um/m}
  noise: 0.4 um
  temperature: {value: 20.0 degC, u: 0.2 K}
  expansion: {value: 11.5e-6 1/K, u: 1e-6 1/K}
  # certificate: "..."
  # valid_until: 2027-06-30

decision: {rule: iso14253-1, proving: conformity, probability: 0.95}

measure:
  kind: features
  features:
    # material: on which side of the feature the part is (a bore has it outside, a shaft inside)
    - {name: flange, feature: plane, select: {label: flange}, material: inside, direction: [0, 0, 1]}
    - {name: bore, feature: cylinder, select: {label: bore}, material: outside}
    - {name: hole, feature: cylinder, select: {label: hole}, material: outside}
  datum_system: {name: AB, primary: flange, secondary: bore}
  characteristics:
    - {name: bore size, characteristic: iso14405.GG, of: bore, nominal: 60 mm, tolerance: {minus: 10 um, plus: 15 um}}
    - {name: flange flatness (G), characteristic: form.G.peak_to_valley, of: flange, tolerance: {max: 20 um}}
    - {name: bore squareness, characteristic: iso1101.perpendicularity.G, of: [bore, flange], tolerance: {max: 30 um}}
    - name: hole position
      characteristic: iso1101.position.G
      of: hole
      in: AB
      at: [30 mm, 0 mm]          # theoretically exact location, in the datum system
      tolerance: {max: 50 um}
"""

SEM_LINES = """\
# Abbe recipe: lines and spaces in SEM images. Check it with: abbe recipe check RECIPE
schema: abbe/recipe/1
name: my wafer lot
seed: 1

inputs:
  files: ["images/*.tif"]        # patterns under the data root (default: this folder)
  format: image
  acquisition: {lot: "W1"}
  # acquisition_from_name: "w(?P<wafer>[0-9]+)_d(?P<die>[0-9]+)"   # what the name gives does not stand above

# Without an instrument uncertainties hold repeatability only and verdicts are provisional.
instrument:
  id: SEM-01
  type: cd-sem
  edge_offset_u: 0.3 nm          # of each edge, by the edge criterion

decision: {rule: iso14253-1, proving: conformity, probability: 0.95}

measure:
  kind: sem_lines
  pixel: {x: 0.827 nm, y: 0.827 nm, u_relative: 0.5 %}
  # rows: [0, 889]               # rows of the image that are measured, end exclusive
  criterion: threshold           # threshold | max_gradient | sigmoid | linear_approximation | model
  level: 50 %                    # of threshold and model only
  lines: bright                  # bright | dark: which stripe is the line
  detrend: linear
  characteristics:
    - {name: CD, characteristic: sem.cd_line, nominal: 16 nm, tolerance: {plus_minus: 1.6 nm}}
    - {name: pitch, characteristic: sem.pitch, nominal: 32 nm, tolerance: {plus_minus: 0.5 nm}}
    - {name: LWR, characteristic: sem.lwr_biased_3s, tolerance: {max: 4 nm}}
"""


def _head(subject: str) -> str:
    """What the recipes of images share, above ``measure``, under a heading of their own."""
    return SEM_LINES[: SEM_LINES.index("measure:\n")].replace("lines and spaces in SEM images", subject, 1)


SEM_CONTACTS = (
    _head("contacts or pillars in SEM images")
    + """measure:
  kind: sem_contacts
  pixel: {x: 0.9 nm, y: 0.9 nm, u_relative: 0.5 %}
  # rows: [0, 675]               # rows of the image that are measured, end exclusive
  criterion: threshold           # threshold | sigmoid | model
  level: 50 %                    # of threshold only
  polarity: auto                 # auto | dark | bright
  lattice: true
  characteristics:
    - {name: CD, characteristic: sem.contact_diameter, nominal: 22 nm, tolerance: {plus_minus: 2 nm}}
    - {name: LCDU, characteristic: sem.lcdu_3s, tolerance: {max: 3 nm}}
    - {name: defects, characteristic: sem.contact_defects, tolerance: {upper: 0}}   # missing, merged, weak
    - {name: placement, characteristic: sem.placement_3s}
    - {name: pitch, characteristic: sem.contact_pitch_a, nominal: 44 nm}
"""
)

SEM_CONTOURS = (
    _head("contours in SEM images, against their design")
    + """measure:
  kind: sem_contours
  pixel: {x: 0.8 nm, y: 0.8 nm, u_relative: 0.5 %}
  criterion: threshold           # threshold | model
  level: 50 %                    # of threshold only
  polarity: auto                 # auto | dark | bright
  # design:                      # polygons under this folder
  #   file: design.txt           # text, GDSII or OASIS (extra gds)
  #   unit: nm                   # of a text file that does not state its own
  #   origin: [0 nm, 0 nm]       # design place in the middle of the image
  characteristics:
    - {name: diameter, characteristic: sem.contour_diameter_area, nominal: 40 nm, tolerance: {plus_minus: 4 nm}}
    # against the design; with it take the marks off
    # - {name: EPE, characteristic: sem.epe_mean, nominal: 0 nm, tolerance: {plus_minus: 2 nm}}
    # - {name: EPE 3s, characteristic: sem.epe_3s, tolerance: {max: 4 nm}}
    # - {name: pull-back, characteristic: sem.pullback, nominal: 0 nm, tolerance: {plus_minus: 5 nm}}
    # - {name: tip to tip, characteristic: sem.tip_to_tip}
    # - {name: defects, characteristic: sem.shape_defects, tolerance: {upper: 0}}   # missing, broken, bridged, extra
"""
)

FILM_MAP = """\
# Abbe recipe: film maps of wafers. Check it with: abbe recipe check RECIPE
schema: abbe/recipe/1
name: my films
seed: 1

inputs:
  files: ["films/*.csv"]         # exports of KLA-Tencor F5x, or tables X,Y,wafer,wafer...; each wafer is a part
  unit: angstrom                 # of the values, where the file does not state it
  wafer: {diameter: 300 mm, edge_exclusion: 3 mm, notch: down}
  # acquisition: {lot: "L1"}     # lot and wafer of the file, where it is not stated here

# The file holds values without uncertainty, so the instrument states it. What it does not state makes verdicts
# provisional.
instrument:
  id: F5X-01
  type: ellipsometer
  noise: 0.1 angstrom            # standard deviation of one value from repeated measurements of one site
  offset_u: 0.3 angstrom         # standard uncertainty of what shifts all values alike
  scale_u: 0.3 %                 # relative standard uncertainty common to all values
  # certificate: "..."
  # valid_until: 2027-06-30

decision: {rule: iso14253-1, proving: conformity, probability: 0.95}

measure:
  kind: film_map
  # result: "1st Thickness"      # where a file holds several results for each wafer
  characteristics:
    - {name: mean, characteristic: film.mean, nominal: 12 angstrom, tolerance: {plus_minus: 1 angstrom}}
    - {name: non-uniformity, characteristic: film.nonuniformity_relative_1s, tolerance: {max: 4 %}}
    - {name: half range, characteristic: film.nonuniformity_half_range, tolerance: {max: 10 %}}
    - {name: centre, characteristic: film.site, at: [0 mm, 0 mm]}
"""

TEMPLATES = {
    "features": FEATURES,
    "sem_lines": SEM_LINES,
    "sem_contacts": SEM_CONTACTS,
    "sem_contours": SEM_CONTOURS,
    "film_map": FILM_MAP,
}


def template(kind: str) -> str:
    """Text of a starting recipe of a measure kind; raises `ParameterError` for an unknown kind."""
    try:
        return TEMPLATES[kind]
    except KeyError:
        raise ParameterError(f"there is no template {kind!r}", expected=" or ".join(TEMPLATES)) from None
