"""The registry of flags: short names that travel with results, each with a meaning and a remedy.

A flag never changes a number. ``info`` says how the number was made, ``warning`` that a reader must know something
before acting on it, ``invalid`` that the number must not be used for a decision.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from metrology_core.errors import UsageError
from metrology_core.flags.alignment import ALIGNMENT_FLAGS
from metrology_core.flags.maps import MAP_FLAGS
from metrology_core.flags.recording import RECORDING_FLAGS
from metrology_core.flags.row import Flag, Severity
from metrology_core.flags.scan import SCAN_FLAGS
from metrology_core.flags.shapes import SHAPE_FLAGS
from metrology_core.flags.spread import SPREAD_FLAGS

__all__ = ["FLAGS", "Flag", "Severity", "merge", "require_flag", "worst"]

_ROWS = (
    # --- uncertainty and decision
    Flag(
        "repeatability_only",
        "warning",
        "No instrument was declared: the uncertainty holds the scatter of the data and nothing else.",
        "Name an instrument in the recipe, with its MPE, noise and temperature.",
    ),
    Flag(
        "provisional_verdict",
        "warning",
        "The verdict rests on an incomplete uncertainty.",
        "Declare the instrument, or renew its calibration, then decide again.",
    ),
    Flag(
        "calibration_expired",
        "warning",
        "The instrument's calibration was not valid when the part was measured.",
        "Recalibrate, or correct valid_until in the instrument file.",
    ),
    Flag(
        "calibration_date_unknown",
        "info",
        "The acquisition carries no time, so the validity of the calibration was not checked.",
        "Record the acquisition time.",
    ),
    Flag(
        "assessment_short",
        "warning",
        "The experiment on the calibrated workpiece has fewer than the 20 measurements of ISO 15530-3.",
        "Measure the calibrated workpiece again, on other days; the degrees of freedom count what there is.",
    ),
    Flag(
        "bias_exceeds_uncertainty",
        "warning",
        "The bias found on the calibrated workpiece is more than five times the standard uncertainty that remains: a "
        "wrong calibrated value, unit, tip or datum explains it better than the process.",
        "Find the cause of the bias before correcting for it; check the value of the certificate and the tip radius.",
    ),
    Flag(
        "workpiece_of_another_size",
        "warning",
        "The calibrated workpiece differs from the part by more than ISO 15530-3 allows: 25 mm up to 250 mm, 10 % "
        "beyond, 5 degrees of an angle. Its experiment says nothing certain of this part.",
        "Calibrate a workpiece of the size of the part, or take the uncertainty from a simulation.",
    ),
    Flag(
        "correlation_not_determined",
        "warning",
        "The residuals do not determine how the point errors are correlated: independent errors explain them as well, "
        "or correlations as long as the feature are not excluded.",
        "State the correlation of the instrument, or measure over a longer range with closer points.",
    ),
    Flag(
        "zone_not_resolved",
        "info",
        "The zone is not distinguishable from zero: it is the size of a vector that the point errors alone explain.",
        "Read the upper end of the interval; use more points or a better probe.",
    ),
    Flag(
        "residuals_exceed_noise",
        "info",
        "The points scatter about the feature by more than three times the declared noise: form, or a wrong noise.",
        "Check the noise of the instrument, the label of the points and the kind of feature.",
    ),
    Flag(
        "monte_carlo_not_converged",
        "warning",
        "The adaptive Monte Carlo procedure stopped at its largest number of trials before it met its tolerance.",
        "Ask for fewer significant digits, or allow more trials.",
    ),
    Flag(
        "no_finite_variance",
        "warning",
        "An input has a t distribution with at most 2 degrees of freedom: its density has no standard deviation, so "
        "the standard uncertainty of a Monte Carlo result means nothing; its intervals do.",
        "Take more readings: simultaneous readings of N quantities leave n - N degrees of freedom.",
    ),
    # --- points
    Flag(
        "non_finite_points",
        "warning",
        "Some points are NaN or infinite; they are kept and counted but enter no fit.",
        "Check the export of the instrument.",
    ),
    Flag(
        "points_are_unknown",
        "warning",
        "Nobody said whether the points are surface points or ball centres; no probe compensation was made.",
        "Set points_are to surface or ball_centre.",
    ),
    Flag(
        "ball_centre_uncompensated",
        "warning",
        "The points are ball centres and the material side is not known: the feature is that of the ball centres.",
        "State material: inside or outside.",
    ),
    Flag(
        "thermal_raw",
        "warning",
        "Lengths are as measured at the part's temperature, not corrected to 20 degC (ISO 1).",
        "Give the temperature and the expansion coefficient so that the points can be corrected.",
    ),
    Flag(
        "float32_source",
        "info",
        "The file stores single precision: each coordinate is rounded to about 7 digits.",
        "Export double precision where the numbers matter.",
    ),
    Flag(
        "columns_ignored",
        "info",
        "The file holds columns that are not used (intensity, colour, ...).",
        "None needed.",
    ),
    Flag(
        "duplicate_points",
        "info",
        "Some points have identical coordinates.",
        "Check whether the scan was exported twice.",
    ),
    Flag(
        "points_unclaimed",
        "info",
        "The file holds points that none of its features refers to; they are kept under the name of their set.",
        "Check the export.",
    ),
    Flag(
        "point_range_not_applied",
        "warning",
        "The file says that a feature was made from a part of its point set; all points of the set carry its name.",
        "Take only the stated part with document.point_set(name, stated_range=True), and compare both results.",
    ),
    Flag(
        "sensor_pose_not_applied",
        "warning",
        "The file states the pose of the sensor; the points are kept in the coordinates of the file.",
        "Transform the points if another frame is wanted.",
    ),
    Flag(
        "trailing_data",
        "warning",
        "The file goes on after the data that its header announces; the rest was not read.",
        "Check the export.",
    ),
    Flag(
        "points_missing_in_file",
        "warning",
        "The file refers to points that it does not hold.",
        "Check the export; features without points are not evaluated.",
    ),
    # --- fits
    Flag(
        "zero_redundancy",
        "warning",
        "As many points as parameters: the feature passes through all points and nothing checks it.",
        "Measure more points.",
    ),
    Flag(
        "ill_conditioned",
        "warning",
        "The points determine some parameters badly (short arc, small patch, narrow strip).",
        "Spread the points over more of the feature, or fix a known parameter.",
    ),
    Flag(
        "points_not_in_plane",
        "warning",
        "The feature is a curve in a plane, and the points depart from that plane by more than from the curve.",
        "Choose the points of one section, or project them onto a plane; fit a cylinder to a bore.",
    ),
    Flag(
        "curvature_not_significant",
        "warning",
        "The curvature does not differ significantly from zero: the radius is not determined.",
        "Fit a plane or a line, or give the radius; `Fit.curvature` has an interval.",
    ),
    Flag(
        "curvature_only",
        "warning",
        "The radius is too large for its parameters to be computed from the points: their curvature is given instead.",
        "Use `Fit.curvature` (1 / r with its uncertainty), or give the radius.",
    ),
    Flag(
        "not_converged",
        "invalid",
        "The fit did not meet its optimality condition.",
        "Look at the points; give a start.",
    ),
    Flag(
        "degenerate",
        "invalid",
        "The points do not determine the feature (all equal, collinear, coplanar, ...).",
        "Measure points that span the feature.",
    ),
    Flag("insufficient", "invalid", "Fewer points than the feature has parameters.", "Measure more points."),
    Flag("non_unique", "warning", "Several different features fit these points equally well.", "Measure more points."),
    Flag(
        "other_minima",
        "warning",
        "A clearly different feature of the same kind fits these points nearly as well.",
        "Measure more points, or give a start near the feature.",
    ),
    Flag(
        "outliers_dropped",
        "warning",
        "The robust mode left points out of the fit; which and how many is in the result.",
        "Look at the points that were left out before using the result; the metrology mode uses all points.",
    ),
    Flag(
        "bound_active",
        "warning",
        "A parameter lies on the bound that was given for it: the points ask for a value beyond it.",
        "Check the bound and the kind of feature; the multiplier in the result says how hard the points press.",
    ),
    Flag(
        "contacts_unstable",
        "warning",
        "Noise may replace the points that hold the zone: the gap to the next point is below 20 standard deviations.",
        "Read the first-order uncertainty of the zone as a lower bound, or evaluate it with fit.monte_carlo().",
    ),
    Flag(
        "beyond_edge",
        "info",
        "Some points lie beyond an edge of the nominal; there it counts as continued by its tangent.",
        "Leave these points out, or take a nominal that reaches farther.",
    ),
    Flag(
        "no_usable_points",
        "invalid",
        "The selection left no points.",
        "Check the label or region of the feature in the recipe.",
    ),
    Flag(
        "not_evaluated",
        "invalid",
        "The characteristic could not be evaluated because a feature it needs was not found.",
        "See the flags of the features.",
    ),
    # --- images
    Flag(
        "pixel_size_conflict",
        "warning",
        "The pixel size in the file differs from the one stated; the stated one was used.",
        "Correct the recipe, or the calibration of the microscope.",
    ),
    Flag(
        "pixel_size_from_file",
        "info",
        "The pixel size was taken from the metadata of the file; no calibration was stated.",
        "State the calibrated pixel size and its uncertainty.",
    ),
    Flag("coloured_border_cropped", "info", "A coloured frame or bar of a grey image was left out.", "None needed."),
    Flag("grey_from_colour", "info", "A colour image with equal channels was read as grey.", "None needed."),
    Flag("multi_page", "info", "The file holds several images; the first was used.", "Name the page."),
    Flag(
        "saturated",
        "warning",
        "Part of the image is at the end of its grey scale, or cut off at a grey level within it.",
        "Lower the gain; edges in saturated regions are biased.",
    ),
    Flag(
        "lost_edges",
        "warning",
        "The edge was not found in some rows; those rows are left out and counted.",
        "Look at the image; raise the dose.",
    ),
    Flag("merged_lines", "warning", "Two edges come too close: the space is bridged.", "Look at the image."),
    Flag("broken_lines", "warning", "Two edges come too close: the line is broken.", "Look at the image."),
    Flag(
        "edge_spikes", "info", "Single edge points lie far off their neighbours; they are kept.", "Look at the image."
    ),
    Flag("tilted", "info", "The lines are tilted against the image; the edges follow the tilt.", "None needed."),
    Flag("rotated_lines", "warning", "The lines run along the rows, not along the columns.", "State the direction."),
    Flag(
        "inverted_contrast", "warning", "The stated lines are darker than the spaces.", "Check lines: bright or dark."
    ),
    Flag(
        "few_lines",
        "warning",
        "Fewer than three lines: scatter between lines is not known well.",
        "Use a larger field.",
    ),
    Flag(
        "filtered_image",
        "warning",
        "Neighbouring rows of the image share noise: it was filtered. Roughness allows for the measured correlation.",
        "Export the image without filter or compression.",
    ),
    Flag(
        "roughness_model_misfit",
        "info",
        "The roughness spectrum scatters about the fitted model more than it should: the model does not hold.",
        "Look at the spectrum: drift, vibration lines or a pattern along the lines are not roughness of this model.",
    ),
    Flag(
        "short_for_roughness",
        "info",
        "The measured length is less than ten correlation lengths: sigma of the infinite line is extrapolated.",
        "Use a longer field, or the value within the measured length.",
    ),
    Flag(
        "smoothing_too_wide",
        "warning",
        "A stripe is narrower than two full widths of the smoothing: it misses its plateau, and its width is moved.",
        "Smooth less, or leave smoothing out; do not read widths from this image.",
    ),
    Flag("low_contrast", "warning", "The step between line and space is small against the noise.", "Raise the dose."),
    Flag(
        "biased_roughness",
        "info",
        "The roughness contains the noise of the edge detection (biased, as named).",
        "Compare only with values of the same name.",
    ),
    Flag(
        "scan_nonlinear",
        "warning",
        "The local pitch varies over the field by more than 0.5 %: the scan is not linear, or the pitch not constant.",
        "Calibrate the scan of this mode; compare widths only at the same place of the field.",
    ),
    Flag(
        "pitch_conflict",
        "warning",
        "The measured pitch differs from the nominal by more than a calibration error: the pixel size is suspect.",
        "Check the pixel size, the magnification, and the nominal pitch of the recipe.",
    ),
    # --- nominals and deviations
    Flag(
        "mesh_cleaned",
        "info",
        "Equal vertices of the nominal were merged, or repeated or collapsed triangles removed, and counted.",
        "None needed.",
    ),
    Flag(
        "mesh_non_finite",
        "warning",
        "Vertices of the nominal are NaN or infinite; their triangles were removed.",
        "Export the nominal again.",
    ),
    Flag(
        "mesh_faces_without_area",
        "info",
        "Some triangles of the nominal have no area; they take no part in distances.",
        "None needed.",
    ),
    Flag(
        "mesh_open",
        "info",
        "The nominal is an open surface: points beside its border have no signed deviation.",
        "Close the nominal where it should be closed.",
    ),
    Flag(
        "mesh_non_manifold",
        "warning",
        "Edges of the nominal join more than two triangles; the side there is that of the nearest sheet.",
        "Repair the nominal.",
    ),
    Flag(
        "mesh_reoriented",
        "warning",
        "Triangles of the nominal disagreed about the outside and were turned to the larger area.",
        "Repair the nominal; check the sign of the deviations.",
    ),
    Flag(
        "mesh_inverted",
        "warning",
        "The closed nominal was inside out and was turned.",
        "Export the nominal with outward normals.",
    ),
    Flag(
        "mesh_not_orientable",
        "warning",
        "The nominal has no two sides; signs mean nothing on it.",
        "Repair the nominal.",
    ),
    Flag(
        "tessellation_coarse",
        "warning",
        "The chord tolerance of the nominal's triangles is above a tenth of the expanded uncertainty.",
        "Tessellate finer, or use the exact CAD surface.",
    ),
    Flag(
        "chord_tolerance_unknown",
        "info",
        "Nobody said how far the triangles of the nominal lie from the surface they stand for.",
        "State the chord tolerance of the export.",
    ),
    Flag(
        "open_border_points",
        "info",
        "Points lie beside an open border of the nominal; they have no sign and enter no statistics.",
        "None needed; they are counted.",
    ),
    Flag(
        "beyond_search_limit",
        "info",
        "Points have nothing of the nominal within the search limit; they enter no statistics.",
        "Check the alignment and the limit; they are counted.",
    ),
    Flag(
        "beyond_angle_limit",
        "info",
        "Points have no face within the search limit whose normal fits theirs; they enter no statistics.",
        "Check the normals of the scan; they are counted.",
    ),
    Flag(
        "nominal_not_covered",
        "info",
        "Part of the nominal has no data.",
        "Measure the missing area; it is shown grey and stated as area.",
    ),
    Flag(
        "alignment_uncertainty_missing",
        "warning",
        "No covariance of the alignment was given: the uncertainty of the deviations lacks it.",
        "Use an alignment that reports its covariance.",
    ),
    Flag(
        "cad_foot_approximate",
        "warning",
        "For some points no exact foot on the CAD surface was found; theirs is that on its triangles.",
        "Use a finer tessellation; the chord tolerance is in the method.",
    ),
    Flag(
        "cad_face_turned",
        "warning",
        "Faces that OpenCascade read as the other side of their border were put back to the side that the file states.",
        "Compare the picture with the part, or turn the sphere in the CAD system so that no edge runs along its seam.",
    ),
    Flag(
        "units_suspect",
        "warning",
        "Scan and nominal differ in size as two units of length do (25.4, 10, 1000, ...).",
        "Check the unit of both files.",
    ),
    Flag(
        "scan_apart_from_nominal",
        "warning",
        "The boxes of scan and nominal do not meet.",
        "Align the scan first, or check that both are of the same part.",
    ),
    Flag(
        "local_peak_not_resolved",
        "info",
        "Too few points around an extreme deviation to average its noise: the single point is reported.",
        "Measure more densely.",
    ),
    # --- pipelines
    Flag(
        "best_fit_alignment",
        "warning",
        "The alignment is a best fit and the drawing's permission is not cited.",
        "Cite the permission, or align on the datums.",
    ),
    Flag(
        "partial_result",
        "warning",
        "Some characteristics of the part could not be measured.",
        "See the flags of the measurements.",
    ),
    # --- contacts and pillars in images
    Flag(
        "few_contacts",
        "warning",
        "Fewer than ten complete features lie in the image: spreads between them say little.",
        "Take an image with more features, or measure several images.",
    ),
    Flag(
        "missing_contacts",
        "warning",
        "At lattice sites of the image there is no feature.",
        "See the sites in the table; check the process, or the contrast of the image.",
    ),
    Flag(
        "merged_contacts",
        "warning",
        "Features of neighbouring lattice sites have grown together; they are counted, not measured.",
        "See the sites in the table; check the process.",
    ),
    Flag(
        "weak_contacts",
        "warning",
        "Features have less than half of the usual contrast: they are closing, and are counted, not measured.",
        "See the sites in the table; check the process.",
    ),
    Flag(
        "rows_share_noise",
        "warning",
        "Neighbouring rows vary together: a resampled or filtered image, or a texture of the ground. Uncertainties by "
        "noise, and edge roughness and local uniformity cleared of it, hold for independent rows.",
        "Measure the image as the instrument stored it, without scaling, filter or compression.",
    ),
    Flag(
        "no_lattice",
        "warning",
        "A lattice was looked for and fewer than six complete features lie on one: there is no pitch and no placement, "
        "and how many are missing may not be known.",
        "Where the features are not meant to lie on a lattice, say lattice: false; else check polarity and image area, "
        "and look at the image for what is missing.",
    ),
    Flag(
        "lcdu_not_resolved",
        "warning",
        "The spread between features is not larger than what the noise of each explains.",
        "Read the value as an upper bound; use a higher dose or more features.",
    ),
    *ALIGNMENT_FLAGS,
    *RECORDING_FLAGS,
    *SCAN_FLAGS,
    *SHAPE_FLAGS,
    *MAP_FLAGS,
    *SPREAD_FLAGS,
)

FLAGS = MappingProxyType({row.name: row for row in _ROWS})
if len(FLAGS) != len(_ROWS):  # two rows of one name would silently shadow each other
    raise RuntimeError("the flag registry holds a name twice")


def require_flag(name: str) -> Flag:
    """Return the row of ``name``; raises `UsageError` for a name that the registry does not hold."""
    try:
        return FLAGS[name]
    except KeyError:
        raise UsageError(
            f"unknown flag {name!r}", expected="a name of metrology_core.flags.FLAGS", remedy="register the flag first"
        ) from None


def merge(*groups: Iterable[str]) -> tuple[str, ...]:
    """Union of groups of flags, sorted, each checked against the registry."""
    names = {name for group in groups for name in group}
    for name in names:
        require_flag(name)
    return tuple(sorted(names))


def worst(names: Iterable[str]) -> Severity | None:
    """Highest severity among ``names``; None without flags."""
    order: tuple[Severity, ...] = ("info", "warning", "invalid")
    ranks = [order.index(require_flag(name).severity) for name in names]
    return order[max(ranks)] if ranks else None
