//! Checks of answers, and the fitted thresholds that decide whether a dearer model is asked.
