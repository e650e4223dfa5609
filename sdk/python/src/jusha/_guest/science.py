"""What this runtime is for, imported before the base is made, so that no task waits for it."""

import numpy
import pandas
import scipy.signal
import scipy.stats
import sklearn.cluster
import sklearn.ensemble
import sklearn.linear_model
import sklearn.model_selection
import sklearn.preprocessing
