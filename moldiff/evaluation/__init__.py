"""Figures of merit for any file of 3D molecules, against any reference: `moldiff.evaluation.evaluate.evaluate`."""
