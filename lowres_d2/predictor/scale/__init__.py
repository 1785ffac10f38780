"""Prediction on more images than fit in memory or in a day: in pieces, each done once.

    input -> manifest -> pieces -> batches of equal shape -> detections -> a shard for each piece

The manifest, written at the start, fixes which images there are and which piece each is in. Shards
are written whole or not at all, so that a run that was killed goes on with the pieces that have
none. Engines differ in where batches are read and looked at; all call the same
:class:`lowres_d2.predictor.scale.detect.Detect`.
"""
