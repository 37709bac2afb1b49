//! What the demonstration does, as a client over the network.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, ensure};
use bytes::Bytes;
use dicom_core::{Tag, VR};
use dicom_data::{Attributes, FileMetaRead, read_file_meta};
use dicom_net::client::{Client, Proposal};
use dicom_net::{AeTitle, Status};
use testdata::{Instance, StudySpec};

use crate::demo::fetch::fetch;
use crate::output;

/// CT Image Storage.
const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
/// Explicit VR Little Endian.
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
/// Study Root Query/Retrieve Information Model - FIND.
const STUDY_ROOT_FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
/// Study Root Query/Retrieve Information Model - GET.
const STUDY_ROOT_GET: &str = "1.2.840.10008.5.1.4.1.2.2.3";
/// Number of Study Related Instances.
const INSTANCES: Tag = Tag(0x0020, 0x1208);

/// A study and the server it goes to.
#[derive(Debug)]
pub(super) struct Tour {
    dicom: String,
    http: SocketAddr,
    called: AeTitle,
    calling: AeTitle,
    study: Vec<Instance>,
}

impl Tour {
    /// Generates the study.
    pub(super) fn new(dicom: SocketAddr, http: SocketAddr, called: AeTitle, seed: u64) -> Self {
        let spec = StudySpec { seed, series: 2, instances_per_series: 100, ..StudySpec::default() };
        let calling = "DEMO".parse().expect("a valid title");
        Self { dicom: dicom.to_string(), http, called, calling, study: testdata::study(spec).collect() }
    }

    /// Returns the study's UID.
    pub(super) fn study_instance_uid(&self) -> &str {
        self.study.first().map_or("", |instance| &instance.study_instance_uid)
    }

    /// Returns how many instances the study has.
    pub(super) fn instances(&self) -> usize {
        self.study.len()
    }

    /// Sends the study over one association.
    pub(super) async fn send(&self) -> anyhow::Result<String> {
        let mut client = self.connect(&[Proposal::new(CT, &[EXPLICIT])]).await?;
        let (begun, mut bytes) = (Instant::now(), 0);
        for instance in &self.study {
            let data_set = Bytes::copy_from_slice(&instance.data_set);
            bytes += instance.data_set.len();
            let status = client.store(CT, &instance.sop_instance_uid, EXPLICIT, data_set).await?;
            ensure!(status == Status::SUCCESS, "C-STORE was answered {status}");
        }
        let milliseconds = begun.elapsed().as_millis().max(1);
        client.release().await?;
        Ok(format!(
            "{} instances, {} in {milliseconds} ms; each is on disk before it is acknowledged",
            self.study.len(),
            output::bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
        ))
    }

    /// Asks for the study by C-FIND and by QIDO-RS.
    pub(super) async fn find(&self) -> anyhow::Result<String> {
        let mut client = self.connect(&[Proposal::new(STUDY_ROOT_FIND, &[EXPLICIT])]).await?;
        let mut identifier = self.identifier();
        identifier.put_text(INSTANCES, VR::IS, "");
        let found = client.find(STUDY_ROOT_FIND, &identifier).await?;
        client.release().await?;
        let counts: Vec<_> = found.iter().map(|study| study.integer(INSTANCES)).collect();
        let expected = i64::try_from(self.study.len()).ok();
        ensure!(counts == [expected], "C-FIND found studies with {counts:?} instances");
        let path = format!("/dicomweb/studies?StudyInstanceUID={}&includefield=00201208", self.study_instance_uid());
        let answer = fetch(self.http, &path, "application/dicom+json").await?;
        ensure!(answer.status == 200, "QIDO-RS answered {}", answer.status);
        let studies: Vec<serde_json::Value> = serde_json::from_slice(&answer.body).context("read QIDO-RS's answer")?;
        let counts: Vec<_> = studies.iter().map(|study| study.pointer("/00201208/Value/0")?.as_i64()).collect();
        ensure!(counts == [expected], "QIDO-RS found studies with {counts:?} instances");
        Ok(format!("one study with {} instances, by C-FIND and by QIDO-RS", self.study.len()))
    }

    /// Retrieves every instance by WADO-RS and by C-GET and compares the bytes.
    pub(super) async fn retrieve(&self) -> anyhow::Result<String> {
        let begun = Instant::now();
        self.retrieve_by_web().await.context("WADO-RS")?;
        let web = begun.elapsed().as_millis();
        let begun = Instant::now();
        self.retrieve_by_get().await.context("C-GET")?;
        let get = begun.elapsed().as_millis();
        Ok(format!("{} instances by WADO-RS in {web} ms, by C-GET in {get} ms", self.study.len()))
    }

    async fn retrieve_by_web(&self) -> anyhow::Result<()> {
        for instance in &self.study {
            let path = format!(
                "/dicomweb/studies/{}/series/{}/instances/{}",
                instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid
            );
            let answer = fetch(self.http, &path, "application/dicom; transfer-syntax=*").await?;
            ensure!(answer.status == 200, "an instance was answered {}", answer.status);
            let FileMetaRead::Meta { data_set_offset, .. } = read_file_meta(&answer.body)? else {
                anyhow::bail!("the answer is not a DICOM file");
            };
            ensure!(answer.body.get(data_set_offset..) == Some(&instance.data_set), "an instance came back changed");
        }
        Ok(())
    }

    async fn retrieve_by_get(&self) -> anyhow::Result<()> {
        let proposals = [Proposal::new(STUDY_ROOT_GET, &[EXPLICIT]), Proposal::new(CT, &[EXPLICIT]).as_scp()];
        let mut client = self.connect(&proposals).await?;
        let mut missing: HashMap<&str, &[u8]> = self
            .study
            .iter()
            .map(|instance| (instance.sop_instance_uid.as_str(), instance.data_set.as_slice()))
            .collect();
        let mut changed = 0;
        let take = |received: dicom_net::client::Received| {
            let sent = missing.remove(received.sop_instance_uid.as_str());
            changed += usize::from(sent != Some(&received.data_set[..]));
            Status::SUCCESS
        };
        let ended = client.get(STUDY_ROOT_GET, &self.identifier(), take).await?;
        client.release().await?;
        ensure!(ended.status == Status::SUCCESS, "C-GET was answered {}", ended.status);
        ensure!(missing.is_empty(), "{} instances did not come", missing.len());
        ensure!(changed == 0, "{changed} instances came back changed");
        Ok(())
    }

    async fn connect(&self, proposals: &[Proposal]) -> anyhow::Result<Client> {
        Ok(Client::connect(&self.dicom, &self.calling, &self.called, proposals).await?)
    }

    fn identifier(&self) -> Attributes {
        let mut identifier = Attributes::default();
        identifier.put_text(Tag(0x0008, 0x0052), VR::CS, "STUDY");
        identifier.put_text(Tag(0x0020, 0x000D), VR::UI, self.study_instance_uid());
        identifier
    }
}
