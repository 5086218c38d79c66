"""Files in, files out: the only room that opens images, folders and weights.

`atomic` (nothing half-written) · `files` and `readers` (one scan) · `dicom/` (series of DICOM files) ·
`layouts` (find the cases of a folder) · `writers` (write a folder in a layout) · `cache` (decode once) ·
`weights` (safetensors + JSON).
Import the file you need: `atomic`, `layouts` and `opening` load in milliseconds, the others bring torch and MONAI.
"""
