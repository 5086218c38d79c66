"""DICOM in and out: `series` (which files belong together), `planes` and `reading` (one series as one volume).

Whatever is not one volume on a regular grid is refused with what was found and the remedy; nothing is resampled,
sheared or left out on the quiet. Messages name files, UIDs and tags, never a patient.
"""
