//! The division of a release: made anew with it, and kept for as long as nothing else is.

use bellwether_api::division::Division;

use super::{Change, ReleaseContent};
use crate::{
    addons::Fleets,
    components::present,
    placement::{ClusterFacts, DivisionError, FrozenDivision, freeze},
};

/// The release before one that is divided.
#[derive(Clone, Copy, Debug)]
pub struct Undivided<'a> {
    /// Its content.
    pub content: &'a ReleaseContent,
    /// Whether its run succeeded.
    pub succeeded: bool,
}

impl ReleaseContent {
    /// Divides the replicas of the release over clusters. As long as the release `before` says the same
    /// and its run has not succeeded, its division stays: clusters that come and go start no run anew.
    ///
    /// # Errors
    /// [`DivisionError`] when nobody could get anything.
    pub fn divided(
        mut self,
        asked: Option<&Division>,
        before: Option<Undivided<'_>>,
        clusters: &[ClusterFacts],
        fleets: &Fleets,
    ) -> Result<Self, DivisionError> {
        let Some(asked) = asked else {
            self.division = None;
            return Ok(self);
        };
        let frozen = before.and_then(|before| before.content.division.as_ref());
        let same = frozen.filter(|frozen| frozen.asked == *asked);
        if let (Some(before), Some(same)) = (before.filter(|before| !before.succeeded), same) {
            self.division = Some(same.clone());
            if before.content.change_to(&self) != Change::Content {
                return Ok(self);
            }
        }
        self.division = Some(self.freeze_over(asked, frozen, clusters, fleets)?);
        Ok(self)
    }

    /// Divides a release that is restored as it was divided then, over the clusters of now. `before` is
    /// the division of the release that it replaces.
    ///
    /// # Errors
    /// [`DivisionError`] when nobody could get anything.
    pub fn divided_again(
        mut self,
        before: Option<&FrozenDivision>,
        clusters: &[ClusterFacts],
        fleets: &Fleets,
    ) -> Result<Self, DivisionError> {
        let Some(own) = self.division.take() else {
            return Ok(self);
        };
        let before = before.filter(|before| before.asked == own.asked);
        let frozen = self.freeze_over(&own.asked, before.or(Some(&own)), clusters, fleets)?;
        self.division = Some(frozen);
        Ok(self)
    }

    /// Returns the content as it is where nothing but its clusters changed since `before`: divided as that
    /// was, if the same is asked for. Otherwise it is told apart by what is asked for, and divided over
    /// nobody.
    #[must_use]
    pub fn divided_as(mut self, before: &Self, asked: Option<&Division>) -> Self {
        let frozen = before.division.as_ref();
        let same = frozen.filter(|frozen| Some(&frozen.asked) == asked);
        self.division = same.cloned().or_else(|| {
            asked.map(|asked| FrozenDivision {
                asked: asked.clone(),
                clusters: Vec::new(),
            })
        });
        self
    }

    /// Tells whether this is the release `before` with its replicas divided over other clusters, or by
    /// other labels: nobody wrote anything else.
    #[must_use]
    pub fn is_redivided(&self, before: &Self) -> bool {
        let (Some(own), Some(other)) = (&self.division, &before.division) else {
            return false;
        };
        let as_before = Self {
            division: before.division.clone(),
            ..self.clone()
        };
        own != other && own.asked == other.asked && before.change_to(&as_before) == Change::None
    }

    fn freeze_over(
        &self,
        asked: &Division,
        before: Option<&FrozenDivision>,
        clusters: &[ClusterFacts],
        fleets: &Fleets,
    ) -> Result<FrozenDivision, DivisionError> {
        freeze(asked, before, clusters, |cluster| {
            let there = present(self, cluster, fleets);
            let gets = |name: &str| there.iter().any(|one| one.name == name);
            let names = self.components.iter().map(|one| &one.name);
            names.filter(|name| !gets(name)).cloned().collect()
        })
    }
}
